"""Upkeep of the applied deltas: there is one for each group of each batch of events, for ever otherwise."""

import asyncio
import logging
from datetime import timedelta
from uuid import UUID

import asyncpg
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.faults import PASSING_FAULTS

from billing_svc.store import Store

log = logging.getLogger(__name__)

# A delta comes again within minutes, or when a topic or an outbox is restored: well within this.
DELTAS_KEPT = timedelta(days=90)
_BATCH = 5000
_EVERY_S = 3600.0


async def forget_old_deltas(database: Database, store: Store) -> None:
    """For ever, hourly; faults are logged and tried again."""
    while True:
        try:
            while await forget_batch(database, store) == _BATCH:
                pass
        except (*PASSING_FAULTS, asyncpg.PostgresError) as error:
            log.warning("upkeep waits", extra={"error": repr(error)})
        await asyncio.sleep(_EVERY_S)


async def forget_batch(database: Database, store: Store) -> int:
    """Deletes a batch of deltas that are too old to come again; returns how many."""
    oldest = utc_now() - DELTAS_KEPT
    async with database.change_by_system("upkeep.forget_deltas", audited=False) as change:
        # UUIDv7 begin with their milliseconds, so the primary key finds the old ones.
        first_kept = UUID(int=int(oldest.timestamp() * 1000) << 80)
        return await store.forget_deltas(change.connection, first_kept, oldest, _BATCH)
