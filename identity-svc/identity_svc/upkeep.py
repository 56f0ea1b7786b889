"""Deletes what nobody needs any more, a little at a time."""

import asyncio
import logging
from datetime import timedelta

import asyncpg
from ams_common.database import Database
from ams_common.faults import PASSING_FAULTS

from identity_svc import challenges
from identity_svc.clocks import Clock
from identity_svc.system_store import SystemStore

log = logging.getLogger(__name__)

_BATCH = 500
_PAUSE_S = 60.0

# What, and how long it is kept: challenges as long as they count against a limit. With a session go its
# refresh tokens, all of which are needed until then: one that is used twice ends it.
_KEPT = {
    "challenges": challenges.LONGEST_WINDOW,
    "sessions": timedelta(days=1),
    "mails": timedelta(days=7),
}


class Upkeep:
    """One may run in every process: rows that another deletes are passed over."""

    def __init__(self, database: Database, store: SystemStore, clock: Clock) -> None:
        self._database = database
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """For ever; faults are logged and tried again."""
        while True:
            try:
                await self.sweep()
            except (*PASSING_FAULTS, asyncpg.PostgresError) as error:
                log.warning("upkeep waits", extra={"error": repr(error)})
            await asyncio.sleep(_PAUSE_S)

    async def sweep(self) -> None:
        """Delete all that is old, each batch in a transaction of its own."""
        for what, kept in _KEPT.items():
            while await self._delete_batch(what, kept) == _BATCH:
                pass

    async def _delete_batch(self, what: str, kept: timedelta) -> int:
        async with self._database.change_by_system("upkeep", audited=False) as change:
            before = self._clock() - kept
            return await self._store.delete_old(change.connection, what, before, _BATCH)
