"""Days are closed once their grace time is over: the root over a merchant's events is published. Events that
come later are in a further edition, about an hour after."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from ams_common.clock import Clock, utc_now
from ams_common.database import Database
from ams_common.loops import run_forever
from ams_common.pseudonyms import Pseudonyms
from ams_rating.merkle import leaf_hash

from usage_svc.events import MAX_AGE
from usage_svc.proofs.leaves import leaf_of, series_of_leaf
from usage_svc.proofs.store import ProofStore
from usage_svc.proofs.trees import TreeBuilder
from usage_svc.store import Store

# What gateways and Kafka have still on their way at the end of a day.
GRACE = timedelta(hours=6)
_EVERY_S = 3600.0
_RETRY_S = 60.0


def last_closed_day(now: datetime) -> date:
    """The last UTC day whose grace time is over."""
    return (now.astimezone(UTC) - GRACE).date() - timedelta(days=1)


async def keep_days_closed(database: Database[Store], pseudonyms: Pseudonyms, clock: Clock = utc_now) -> None:
    """For ever, hourly: publishes what is to be published."""

    async def work() -> None:
        await close_days(database, pseudonyms, clock())

    await run_forever("day roots", work, _EVERY_S, retry_s=_RETRY_S)


async def close_days(database: Database[Store], pseudonyms: Pseudonyms, now: datetime) -> int:
    """Publishes a root for each merchant and day that has events in no tree; returns how many. Each in a
    transaction of its own: it can be broken off at any point, and done by several processes."""
    published, day = 0, last_closed_day(now)
    first_day = (now - MAX_AGE).date()
    while day >= first_day:
        async with database.read() as reading:
            store = ProofStore(reading.connection)
            # Events that are no longer kept can't be in a further edition.
            merchants = await store.list_open_merchants(day=day) if await store.has_events(day) else []
        for merchant_id in merchants:
            published += await _close_day(database, pseudonyms, merchant_id, day, now)
        day -= timedelta(days=1)
    return published


async def _close_day(
    database: Database[Store], pseudonyms: Pseudonyms, merchant_id: UUID, day: date, now: datetime
) -> bool:
    async with database.change_by_system("day_root.publish") as change:
        store = ProofStore(change.connection)
        if not await store.lock_day(merchant_id=merchant_id, day=day):
            change.nothing_to_audit()  # another process is at it
            return False
        edition = await store.next_edition(merchant_id=merchant_id, day=day)
        series = {
            row["series_id"]: series_of_leaf(row, pseudonyms)
            for row in await store.list_series_of_merchant(merchant_id=merchant_id)
        }
        sources = await store.list_sources()
        open_series = (await store.list_open_series(list(series), day, day)).get(day, [])
        tree = TreeBuilder()
        async for rows in store.stream_open_events(day, open_series):
            for row in rows:
                leaf = leaf_of(row, series[row["series_id"]], sources[row["source_id"]])
                tree.add(row["series_id"], row["event_id"], leaf_hash(leaf))
            await store.add_tree_parts(merchant_id, day, edition, *tree.take())
        root = tree.end()
        await store.add_tree_parts(merchant_id, day, edition, *tree.take())
        if not tree.events:
            change.nothing_to_audit()  # another process was faster
            return False
        await store.add_root(
            merchant_id=merchant_id,
            day=day,
            edition=edition,
            events=tree.events,
            root=root,
            published_at=now,
        )
        # The audit log is kept elsewhere: two places would have to be changed.
        change.audit(
            "merchant",
            merchant_id,
            day=day.isoformat(),
            edition=str(edition),
            events=str(tree.events),
            root=root.hex(),
        )
    return True
