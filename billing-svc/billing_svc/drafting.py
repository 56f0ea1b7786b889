"""Drafts follow usage by themselves: whatever changes what a draft says leaves a mark, and marks are worked
off."""

import logging
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from ams_common import metrics
from ams_common.clock import Clock, utc_now
from ams_common.database import Database
from ams_common.loops import run_forever

from billing_svc.open_usage import closed_months, read_open_usage
from billing_svc.rating import RatingProblem
from billing_svc.rows import Pair
from billing_svc.store import Store

log = logging.getLogger(__name__)

_EVERY_S = 0.5
_BATCH = 500


async def keep_drafts(database: Database[Store], clock: Clock = utc_now) -> None:
    """For ever: makes the drafts anew that say less than the counters."""

    async def work() -> None:
        await refresh_drafts(database, clock())

    await run_forever("drafts", work, _EVERY_S)


async def refresh_drafts(database: Database[Store], now: datetime) -> None:
    """Works off the marks there are, but for those of merchants whose invoices somebody else is making."""
    busy: set[UUID] = set()
    while await _refresh_batch(database, busy, now):
        pass
    async with database.read() as store:
        blocked = await store.count_rating_problems()
    metrics.gauge(
        "ams_blocked_invoices",
        "Consumers whose invoice of a merchant can't be made, for a price or service is unknown.",
        over_workers="livemax",
    ).set(blocked)


async def _refresh_batch(database: Database[Store], busy: set[UUID], now: datetime) -> bool:
    """Returns whether there may be more; adds to `busy` whose marks have to wait."""
    # The marks' cause was audited where it was an RPC; counting isn't.
    async with database.change_by_system("invoice.draft", audited=False) as change:
        store = change.store
        marked = await store.list_marked_pairs(busy_merchant_ids=list(busy), limit=_BATCH)
        merchant_ids = {pair.merchant_id for pair in marked}
        locked = set(await store.lock_idle_merchants(merchant_ids=sorted(merchant_ids)))
        busy |= merchant_ids - locked
        pairs = {pair for pair in marked if pair.merchant_id in locked}
        if pairs:
            await draft(store, pairs, now)
    return bool(marked)


async def draft(store: Store, pairs: Iterable[Pair], now: datetime) -> None:
    """Makes the drafts of `pairs` anew, under their merchants' locks."""
    pairs = set(pairs)
    # Taken before the counters are read: a total that comes meanwhile leaves a mark of its own.
    await store.add_open_months(await store.take_marks(pairs))
    months = await store.list_open_months(pairs)
    found = await read_open_usage(store, months, await store.list_commission_rates())
    contents = [invoice for usage in found.values() for invoice in usage.composed.invoices]
    await store.replace_drafts(pairs, contents, now)
    await store.close_months(
        (pair, month) for pair, usage in found.items() for month in closed_months(usage, None)
    )
    problems = [problem for usage in found.values() for problem in usage.problems]
    await store.replace_rating_problems(pairs, problems)
    _alarm(problems)


def _alarm(problems: Iterable[RatingProblem]) -> None:
    for problem in problems:
        log.critical(
            "usage can't be rated and blocks an invoice",
            extra={
                "code": problem.code,
                "service_id": str(problem.service_id),
                "merchant_id": str(problem.merchant_id),
            },
        )
