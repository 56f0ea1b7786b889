"""What a report's rows hold, for each role: pseudonyms for merchants, the consumers' own words else. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum, auto
from functools import lru_cache
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from ams.policy.v1.policy_pb2 import ADMIN, MERCHANT
from ams.usage.v1 import report_service_pb2 as pb
from ams.usage.v1.events_pb2 import ChargeClass, Outcome
from ams_common.pseudonyms import Pseudonyms

from usage_svc.reporting.reports import Report

# Pseudonyms that are remembered while a report is made.
_REMEMBERED = 100_000


class Kind(Enum):
    """What a column's cells are."""

    TEXT = auto()
    COUNT = auto()
    MEAN = auto()
    MOMENT = auto()
    DAY = auto()
    FLAG = auto()
    AMOUNT = auto()


@dataclass(frozen=True, slots=True)
class Column:
    """A column and how its cell is made of a row. `width_mm` 0: a PDF has no room for it."""

    name: str
    kind: Kind
    cell: Callable[[Any], Any]
    width_mm: int = 0


class Amount(NamedTuple):
    """Exact money."""

    amount: Decimal
    currency: str


class Facts(Protocol):
    """What others tell of a report's rows."""

    def service_name(self, service_id: UUID) -> str: ...

    def merchant_name(self, service_id: UUID) -> str: ...

    def key_name(self, api_key_id: UUID) -> str: ...

    def spend_of(self, line: "UsageLine") -> Amount | None: ...


class UsageLine(NamedTuple):
    """A rollup of a day or hour, with what its series says, and where it stands in its key's day: what the
    day has in all, and in the rows before."""

    bucket_start: datetime
    status_class: int
    consumer_id: UUID
    merchant_id: UUID
    service_id: UUID
    api_key_id: UUID
    project_id: UUID | None
    project_name: str | None
    key_prefix: str
    requests: int
    billable_requests: int
    errors: int
    request_bytes: int
    response_bytes: int
    request_messages: int
    response_messages: int
    response_time_ms_sum: int
    response_time_ms_max: int | None
    day_requests: int
    day_billable: int
    requests_before: int
    billable_before: int


class CallLine(NamedTuple):
    """A raw event, with what its series says."""

    occurred_at: datetime
    event_id: UUID
    request_id: str | None
    consumer_id: UUID
    merchant_id: UUID
    service_id: UUID
    api_key_id: UUID
    project_id: UUID | None
    project_name: str | None
    key_prefix: str
    status_code: int
    outcome: Outcome.ValueType
    charge_class: ChargeClass.ValueType
    is_test: bool
    is_continuation: bool
    request_bytes: int
    response_bytes: int
    response_time_ms: int
    request_messages: int
    response_messages: int


def columns_of(report: Report, pseudonyms: Pseudonyms, facts: Facts) -> Sequence[Column]:
    """The report's columns, in their order. Single calls have no spend: a price rounds a month, not them."""
    parties = _parties(report, pseudonyms, facts)
    if report.detail == pb.CALLS:
        return [
            Column("occurred_at", Kind.MOMENT, lambda line: line.occurred_at),
            Column("request_id", Kind.TEXT, lambda line: line.request_id or str(line.event_id)),
            Column("event_id", Kind.TEXT, lambda line: str(line.event_id)),
            *parties,
            Column("status_code", Kind.COUNT, lambda line: line.status_code),
            Column("outcome", Kind.TEXT, lambda line: Outcome.Name(line.outcome).lower()),
            Column("charge_class", Kind.TEXT, lambda line: ChargeClass.Name(line.charge_class).lower()),
            Column("is_test", Kind.FLAG, lambda line: line.is_test),
            Column("is_continuation", Kind.FLAG, lambda line: line.is_continuation),
            Column("request_bytes", Kind.COUNT, lambda line: line.request_bytes),
            Column("response_bytes", Kind.COUNT, lambda line: line.response_bytes),
            Column("response_time_ms", Kind.COUNT, lambda line: line.response_time_ms),
            # Of WebSockets.
            Column("request_messages", Kind.COUNT, lambda line: line.request_messages),
            Column("response_messages", Kind.COUNT, lambda line: line.response_messages),
        ]
    by_hour = Column("hour", Kind.MOMENT, lambda line: line.bucket_start, 26)
    by_day = Column("day", Kind.DAY, lambda line: line.bucket_start.date(), 18)
    return [
        by_hour if report.detail == pb.BY_HOUR else by_day,
        *parties,
        Column("status_class", Kind.TEXT, lambda line: f"{line.status_class}xx", 11),
        Column("requests", Kind.COUNT, lambda line: line.requests, 16),
        Column("billable_requests", Kind.COUNT, lambda line: line.billable_requests, 16),
        Column("errors", Kind.COUNT, lambda line: line.errors, 13),
        Column("request_bytes", Kind.COUNT, lambda line: line.request_bytes, 20),
        Column("response_bytes", Kind.COUNT, lambda line: line.response_bytes, 20),
        Column("request_messages", Kind.COUNT, lambda line: line.request_messages),
        Column("response_messages", Kind.COUNT, lambda line: line.response_messages),
        Column("mean_response_time_ms", Kind.MEAN, _mean_ms, 20),
        Column("max_response_time_ms", Kind.COUNT, lambda line: line.response_time_ms_max or 0),
        Column(
            "spend", Kind.AMOUNT, lambda line: spent.amount if (spent := facts.spend_of(line)) else None, 24
        ),
        Column(
            "currency", Kind.TEXT, lambda line: spent.currency if (spent := facts.spend_of(line)) else "", 13
        ),
    ]


def _parties(report: Report, pseudonyms: Pseudonyms, facts: Facts) -> list[Column]:
    """Whose calls, of what: as the report's owner may know them."""
    service = [
        Column("service", Kind.TEXT, lambda line: facts.service_name(line.service_id), 44),
        Column("service_id", Kind.TEXT, lambda line: str(line.service_id)),
    ]
    if report.role == MERCHANT:
        of_consumer = lru_cache(_REMEMBERED)(pseudonyms.of_consumer)
        of_key = lru_cache(_REMEMBERED)(pseudonyms.of_key)
        owner_id = report.owner_id
        return [
            *service,
            Column("consumer", Kind.TEXT, lambda line: of_consumer(owner_id, line.consumer_id), 27),
            Column("key", Kind.TEXT, lambda line: of_key(owner_id, line.api_key_id), 27),
        ]
    merchant = [
        Column("merchant", Kind.TEXT, lambda line: facts.merchant_name(line.service_id)),
        Column("merchant_id", Kind.TEXT, lambda line: str(line.merchant_id)),
    ]
    key = [
        Column("project", Kind.TEXT, lambda line: line.project_name or ""),
        Column("project_id", Kind.TEXT, lambda line: str(line.project_id or "")),
        Column("api_key_id", Kind.TEXT, lambda line: str(line.api_key_id)),
    ]
    if report.role == ADMIN:
        consumer = Column("consumer_id", Kind.TEXT, lambda line: str(line.consumer_id), 38)
        return [
            *service,
            consumer,
            *merchant,
            *key,
            Column("key", Kind.TEXT, lambda line: line.key_prefix, 16),
        ]
    return [
        *service,
        *merchant,
        *key,
        Column("key_name", Kind.TEXT, lambda line: facts.key_name(line.api_key_id), 28),
        Column("key", Kind.TEXT, lambda line: line.key_prefix, 26),
    ]


def _mean_ms(line: UsageLine) -> float:
    return round(line.response_time_ms_sum / line.requests, 1) if line.requests else 0.0
