"""Runs that make invoices, and when the calendar begins one. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from billing_svc.periods import first_day_of, last_day_of, month_before, period_of
from billing_svc.rating import RatingProblem


@dataclass(frozen=True, slots=True)
class RunScope:
    """Whose invoices a run makes, through which day. None: all merchants, all consumers."""

    invoice_run_id: UUID
    last_day: date
    merchant_id: UUID | None
    consumer_ids: Sequence[UUID] | None


@dataclass(frozen=True, slots=True)
class RunProblem:
    """Why an invoice could not be made; without a consumer, none of the merchant's."""

    merchant_id: UUID
    consumer_id: UUID | None
    service_id: UUID | None
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class InvoiceRun:
    """A run as it is stored; `status` is the database's word."""

    invoice_run_id: UUID
    last_day: date
    status: str
    is_monthly: bool
    created_at: datetime
    finished_at: datetime | None
    merchants: int
    merchants_done: int
    invoices: int
    problems: tuple[RunProblem, ...]


_MESSAGES = {
    "price_unknown": "The price of some usage has not arrived yet.",
    "service_unknown": "A service that was used has not arrived yet.",
}


def run_problem(problem: RatingProblem) -> RunProblem:
    return RunProblem(
        problem.merchant_id,
        problem.consumer_id,
        problem.service_id,
        problem.code,
        _MESSAGES[problem.code],
    )


def month_to_bill(now: datetime, grace: timedelta) -> str:
    """The last month whose grace time is over: until then usage of it may still be on its way."""
    month = month_before(period_of(now))
    end = datetime.combine(last_day_of(month) + timedelta(days=1), time(), UTC)
    return month if now >= end + grace else month_before(month)


def is_over(last_day: date, now: datetime) -> bool:
    """Whether no more calls can come in on that UTC day."""
    return last_day < now.astimezone(UTC).date()


def begins_of(month: str) -> tuple[datetime, datetime]:
    """The month's first moment, and the one after its last."""
    first = datetime.combine(first_day_of(month), time(), UTC)
    return first, datetime.combine(last_day_of(month) + timedelta(days=1), time(), UTC)
