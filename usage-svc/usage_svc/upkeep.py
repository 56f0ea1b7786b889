"""Upkeep of the partitions: those of the next days exist before the first event of the day comes."""

import asyncio
import logging
from datetime import date, timedelta

import asyncpg
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.faults import PASSING_FAULTS

from usage_svc.store import Store

log = logging.getLogger(__name__)

DAYS_AHEAD = 7
_INTERVAL_S = 3600.0
_RETRY_S = 30.0


def days_to_keep_ready(today: date) -> list[date]:
    """Today and the days after it whose partitions should exist."""
    return [today + timedelta(days=ahead) for ahead in range(DAYS_AHEAD + 1)]


class PartitionUpkeep:
    """Makes partitions ahead of time. The consumer makes what is missing, so being late does no harm."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
        self._store = store

    async def run(self) -> None:
        """For ever; faults of the database are logged and tried again."""
        while True:
            try:
                await self.make_partitions()
                await asyncio.sleep(_INTERVAL_S)
            except (*PASSING_FAULTS, asyncpg.PostgresError) as error:
                log.warning("partition upkeep waits", extra={"error": repr(error)})
                await asyncio.sleep(_RETRY_S)

    async def make_partitions(self) -> int:
        """Make those that are missing; returns how many were."""
        async with self._database.change_by_system("usage.upkeep", audited=False) as change:
            return await self._store.ensure_partitions(
                change.connection, days_to_keep_ready(utc_now().date())
            )
