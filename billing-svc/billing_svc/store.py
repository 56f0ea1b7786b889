"""The only modules that run SQL are this one and invoice_store: what each query is, queries.sql says."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from ams_common.paging import Page, PageRequest
from ams_common.queries import column, many, maybe_value, one, page, run, value

from billing_svc.commission import CommissionRate
from billing_svc.counters import CounterKey, Figures
from billing_svc.invoice_store import InvoiceStore
from billing_svc.invoices import Billed
from billing_svc.periods import first_day_of, last_day_of
from billing_svc.rating import RatingProblem
from billing_svc.rows import CountedUsage, KeyUsage, Pair, billed, counted_usage, key_usage
from billing_svc.runs import InvoiceRun, RunProblem, RunScope

_PROBLEMS_SHOWN = 100


def _pair(row: Mapping[str, Any]) -> Pair:
    return Pair(row["merchant_id"], row["consumer_id"])


def _pair_month(row: Mapping[str, Any]) -> tuple[Pair, str]:
    return _pair(row), row["month"]


class Store(InvoiceStore, package="billing_svc"):
    """The schema `billing`."""

    upsert_service = run()
    upsert_merchant = run()
    add_price_version = maybe_value(UUID)
    arrange_price_versions = column(date)
    mark_users_of_service = run()
    mark_open_users_of_service = run()

    _raise_counters = run()
    _list_usage = many(row=counted_usage)
    _list_usage_with_counters = many(row=counted_usage)
    list_payers_of_project = column(UUID)
    list_usage_of_merchant = many(row=counted_usage)
    _list_usage_of_keys = many(row=key_usage)
    list_consumers_of_merchant = column(UUID)
    list_consumers_in_month = column(UUID)

    lock_merchant = run()
    lock_idle_merchants = column(UUID)
    list_marked_pairs = many(row=_pair)
    _take_marks = many(row=_pair_month)
    _add_marks = run()
    _add_open_months = run()
    _close_months = run()
    _list_open_months = many(row=_pair_month)
    list_open_consumers = column(UUID)
    _list_billed = many(row=billed)
    _list_billed_through = many(dict[str, Any])
    _replace_rating_problems = run()
    count_rating_problems = value(int)

    add_run = maybe_value(UUID)
    _find_run = many(dict[str, Any])
    _find_monthly_run = many(dict[str, Any])
    _list_runs = page(dict[str, Any])
    _list_run_problems = many(dict[str, Any])
    list_unfinished_runs = many(RunScope)
    begin_run = maybe_value(UUID)
    add_run_merchants = run()
    analyze_invoices = run()
    take_run_merchant = maybe_value(UUID)
    finish_run_merchant = run()
    _add_run_problems = run()
    finish_run = run()

    list_commission_rates = many(CommissionRate)
    add_commission_rate = one(CommissionRate)
    add_first_commission_rate = one(CommissionRate)

    async def raise_counters(self, totals: Mapping[CounterKey, Figures]) -> None:
        """Keep the greatest of what is held and told, and mark whose drafts say less."""
        keys, figures = list(totals.keys()), list(totals.values())
        await self._raise_counters(
            days=[key.day for key in keys],
            merchant_ids=[key.merchant_id for key in keys],
            consumer_ids=[key.consumer_id for key in keys],
            project_ids=[key.project_id for key in keys],
            api_key_ids=[key.api_key_id for key in keys],
            service_ids=[key.service_id for key in keys],
            charge_classes=[key.charge_class.value for key in keys],
            events=[each.events for each in figures],
            requests=[each.requests for each in figures],
            request_bytes=[each.request_bytes for each in figures],
            response_bytes=[each.response_bytes for each in figures],
            last_offsets=[json.dumps(each.last_offsets) for each in figures],
        )

    async def list_usage(
        self, months: Sequence[tuple[Pair, str]], through: Mapping[Pair, date], *, with_counters: bool
    ) -> list[CountedUsage]:
        """The usage of pairs in months, through a pair's day in `through` where it has one there."""
        wanted = [
            (pair, first_day_of(month), min(last_day_of(month), through.get(pair, date.max)))
            for pair, month in months
        ]
        query = self._list_usage_with_counters if with_counters else self._list_usage
        return await query(
            merchant_ids=[pair.merchant_id for pair, _, _ in wanted],
            consumer_ids=[pair.consumer_id for pair, _, _ in wanted],
            first_days=[first_day for _, first_day, _ in wanted],
            last_days=[last_day for _, _, last_day in wanted],
        )

    async def list_usage_of_keys(
        self,
        consumer_ids: Sequence[UUID],
        months: Mapping[str, bool],
        merchant_id: UUID | None = None,
        service_id: UUID | None = None,
        through: date = date.max,
    ) -> list[KeyUsage]:
        """What consumers have used in months, whose days are told apart where `months` says so; until and
        with a day."""
        return await self._list_usage_of_keys(
            consumer_ids=consumer_ids,
            first_days=[first_day_of(month) for month in months],
            last_days=[min(last_day_of(month), through) for month in months],
            by_days=list(months.values()),
            merchant_id=merchant_id,
            service_id=service_id,
        )

    async def list_billed(self, months: Sequence[tuple[Pair, str]]) -> list[tuple[Pair, Billed]]:
        """What the invoices in force have billed in the months of pairs."""
        return await self._list_billed(**_pair_months(months))

    async def list_billed_through(self, pairs: Iterable[Pair]) -> dict[Pair, dict[str, date]]:
        """Through which day the invoices in force of each pair go, by currency."""
        found: dict[Pair, dict[str, date]] = {}
        for row in await self._list_billed_through(**_pairs(pairs)):
            found.setdefault(_pair(row), {})[row["currency"]] = row["last_day"]
        return found

    async def take_marks(self, pairs: Iterable[Pair]) -> list[tuple[Pair, str]]:
        """Removes the marks of pairs: what they tell of has been committed, and so is seen from now on."""
        return await self._take_marks(**_pairs(pairs))

    async def add_marks(self, months: Iterable[tuple[Pair, str]]) -> None:
        """Have the drafts of pairs made anew, for what is open in these months."""
        await self._add_marks(**_pair_months(months))

    async def add_open_months(self, months: Iterable[tuple[Pair, str]]) -> None:
        await self._add_open_months(**_pair_months(months))

    async def close_months(self, months: Iterable[tuple[Pair, str]]) -> None:
        await self._close_months(**_pair_months(months))

    async def list_open_months(self, pairs: Iterable[Pair]) -> list[tuple[Pair, str]]:
        return await self._list_open_months(**_pairs(pairs))

    async def replace_rating_problems(self, pairs: Iterable[Pair], problems: Sequence[RatingProblem]) -> None:
        """Keep what stands in the way of the pairs' invoices, and forget what did before."""
        await self._replace_rating_problems(
            **_pairs(pairs),
            problem_merchant_ids=[problem.merchant_id for problem in problems],
            problem_consumer_ids=[problem.consumer_id for problem in problems],
            problem_service_ids=[problem.service_id for problem in problems],
            problem_codes=[problem.code for problem in problems],
        )

    async def find_run(self, *, invoice_run_id: UUID, asked_by: UUID | None) -> InvoiceRun | None:
        """One that the merchant `asked_by` asked for; None: an admin asks, who sees all."""
        found = await self._find_run(invoice_run_id=invoice_run_id, asked_by=asked_by)
        return next(iter(await self._with_problems(found)), None)

    async def find_monthly_run(self, *, last_day: date) -> InvoiceRun | None:
        return next(iter(await self._with_problems(await self._find_monthly_run(last_day=last_day))), None)

    async def list_runs(self, wanted: PageRequest, *, asked_by: UUID | None) -> Page[InvoiceRun]:
        """As find_run(); the newest first."""
        found = await self._list_runs(wanted, asked_by=asked_by)
        return Page(await self._with_problems(found.rows), found.next_token)

    async def add_run_problems(self, invoice_run_id: UUID, problems: Sequence[RunProblem]) -> None:
        await self._add_run_problems(
            invoice_run_id=invoice_run_id,
            merchant_ids=[problem.merchant_id for problem in problems],
            consumer_ids=[problem.consumer_id for problem in problems],
            service_ids=[problem.service_id for problem in problems],
            codes=[problem.code for problem in problems],
            messages=[problem.message for problem in problems],
        )

    async def _with_problems(self, rows: Sequence[Mapping[str, Any]]) -> list[InvoiceRun]:
        problems: dict[UUID, list[RunProblem]] = {row["invoice_run_id"]: [] for row in rows}
        limit = _PROBLEMS_SHOWN * max(len(rows), 1)
        for row in await self._list_run_problems(invoice_run_ids=list(problems), limit=limit):
            problems[row.pop("invoice_run_id")].append(RunProblem(**row))
        return [InvoiceRun(**row, problems=tuple(problems[row["invoice_run_id"]])) for row in rows]


def _pairs(pairs: Iterable[Pair]) -> dict[str, list[UUID]]:
    listed = list(pairs)
    return {
        "merchant_ids": [pair.merchant_id for pair in listed],
        "consumer_ids": [pair.consumer_id for pair in listed],
    }


def _pair_months(months: Iterable[tuple[Pair, str]]) -> dict[str, Any]:
    listed = list(months)
    return {**_pairs(pair for pair, _ in listed), "months": [month for _, month in listed]}
