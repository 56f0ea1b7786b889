"""Retention of the applied deltas: there is one for each group of each batch of events."""

from datetime import timedelta
from uuid import UUID

from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.loops import run_forever

from billing_svc.store import Store

# A delta comes again within minutes, or when a topic or an outbox is restored: well within this.
DELTAS_KEPT = timedelta(days=90)
_BATCH = 5000
_EVERY_S = 3600.0


async def purge_old_deltas(database: Database[Store]) -> None:
    """For ever, hourly: delete the deltas that are too old to come again."""

    async def purge() -> None:
        while await purge_batch(database) == _BATCH:
            pass

    await run_forever("retention of deltas", purge, _EVERY_S)


async def purge_batch(database: Database[Store]) -> int:
    """Deletes a batch of those deltas; returns how many."""
    oldest = utc_now() - DELTAS_KEPT
    async with database.change_by_system("retention.purge_deltas", audited=False) as change:
        # UUIDv7 begin with their milliseconds, so the primary key finds the old ones.
        first_kept = UUID(int=int(oldest.timestamp() * 1000) << 80)
        return await change.store.purge_deltas(first_kept=first_kept, oldest=oldest, limit=_BATCH)
