"""The digest of an invoice's roots, which it gets once all of its events are in published trees."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from uuid import UUID

from ams.usage.v1 import usage_service_pb2 as usage_pb
from ams_common.database import Database
from ams_common.loops import run_forever
from ams_rating.proof import DayRoot

from billing_svc.periods import first_day_of, last_day_of
from billing_svc.proofs.parts import day_root
from billing_svc.proofs.store import ProofStore, UndigestedInvoice
from billing_svc.store import Store
from billing_svc.usage_client import UsageClient

# usage-svc publishes roots every hour.
_EVERY_S = 600.0
_RETRY_S = 60.0
_BATCH = 500
_FIRST = UUID(int=0)


async def keep_digests(database: Database[Store], usage: UsageClient) -> None:
    """For ever: gives issued invoices their digests."""

    async def work() -> None:
        await add_digests(database, usage)

    await run_forever("root digests", work, _EVERY_S, retry_s=_RETRY_S)


async def add_digests(database: Database[Store], usage: UsageClient) -> int:
    """Gives digests to the invoices that can have one; returns how many. The others wait for a day's root."""
    async with database.read() as reading:
        merchants = await ProofStore(reading.connection).list_merchants_without_digests()
    added = 0
    for merchant_id in merchants:
        after = _FIRST
        while invoices := await _waiting(database, merchant_id, after):
            added += await _add(database, MerchantRoots(usage, merchant_id), invoices)
            after = invoices[-1].invoice_id
    return added


async def _waiting(database: Database[Store], merchant_id: UUID, after: UUID) -> Sequence[UndigestedInvoice]:
    async with database.read() as reading:
        return await ProofStore(reading.connection).list_invoices_without_digests(
            merchant_id=merchant_id, after=after, limit=_BATCH
        )


async def _add(
    database: Database[Store], published: "MerchantRoots", invoices: Sequence[UndigestedInvoice]
) -> int:
    """A merchant's invoices of the same days have the same roots. `published` asks usage-svc only now: what
    it says is younger than the events of these invoices."""
    added = 0
    for (months, last_day), group in groupby(sorted(invoices, key=_days_of), _days_of):
        roots = await published.through(months, last_day)
        if roots is not None:
            async with database.change_by_system("invoice.set_digest", audited=False) as change:
                ids = [invoice.invoice_id for invoice in group]
                added += await ProofStore(change.connection).set_digest(ids, roots)
    return added


def _days_of(invoice: UndigestedInvoice) -> tuple[tuple[str, ...], date]:
    return tuple(invoice.months), invoice.last_day


@dataclass(slots=True)
class MerchantRoots:
    """A merchant's published roots, asked for once a month of them."""

    usage: UsageClient
    merchant_id: UUID
    _months: dict[str, "_Month"] = field(default_factory=dict)

    async def through(self, months: Iterable[str], last_day: date) -> list[DayRoot] | None:
        """The roots of these months through a day, by day and edition; None while one of the days has
        events in no tree."""
        found: list[DayRoot] = []
        for month in months:
            if month not in self._months:
                self._months[month] = await self._ask(month)
            of_month = self._months[month]
            if any(day <= last_day for day in of_month.open_days):
                return None
            found += [root for root in of_month.roots if root.day <= last_day]
        return found

    async def _ask(self, month: str) -> "_Month":
        days = first_day_of(month), last_day_of(month)
        # In this order: roots that are younger than the totals hold whatever these count.
        totals = await self.usage.list_day_totals(*days, merchant_id=self.merchant_id, consumer_id=None)
        roots = [day_root(each) for each in await self.usage.list_day_roots(self.merchant_id, *days)]
        return _Month(roots, open_days(totals, roots))


@dataclass(frozen=True, slots=True)
class _Month:
    roots: Sequence[DayRoot]
    open_days: Sequence[date]


def open_days(totals: Iterable[usage_pb.DayTotal], roots: Iterable[DayRoot]) -> list[date]:
    """The days that have events in no tree."""
    proven: dict[date, int] = {}
    for root in roots:
        proven[root.day] = proven.get(root.day, 0) + root.events
    days = ((date.fromisoformat(total.day), total.recorded_events) for total in totals)
    return [day for day, recorded in days if recorded > proven.get(day, 0)]
