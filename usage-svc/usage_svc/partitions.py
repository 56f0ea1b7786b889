"""The daily partitions of raw events and of minutes, made before the first event of their day comes."""

import asyncio
from collections.abc import Iterable
from datetime import date, timedelta

import asyncpg
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.faults import TryAgainError
from ams_common.loops import run_forever

from usage_svc.store import Store

DAYS_AHEAD = 7
_EVERY_S = 3600.0
_RETRY_S = 30.0
_ATTEMPTS = 20
_PAUSE_S = 0.1


class Partitions:
    """Makes partitions when they are needed, and remembers which are there.

    `archived_through`: the last day whose partition is known to have been dropped. Of what comes for it, or
    for a day before, nobody can tell whether it was counted.
    """

    def __init__(self, database: Database[Store]) -> None:
        self.archived_through: date | None = None
        self._database = database
        self._ready: set[date] = set()

    async def ensure(self, days: Iterable[date]) -> int:
        """Makes those of `days` that are missing, in a transaction of its own; returns of how many days.

        Raises TryAgainError when there is none for one of them any more, which `archived_through` tells.
        """
        missing = sorted(set(days) - self._ready)
        if not missing:
            return 0
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                made = await self._make(missing)
            except asyncpg.LockNotAvailableError:
                if attempt == _ATTEMPTS:
                    raise
                await asyncio.sleep(_PAUSE_S)
            else:
                self._ready.update(missing)
                return made
        raise AssertionError("the last attempt returns or raises")

    def forget(self) -> None:
        """Look again at what is there: one of them has been dropped."""
        self._ready.clear()

    async def _make(self, days: list[date]) -> int:
        async with self._database.change_by_system("usage.make_partitions", audited=False) as change:
            await change.store.wait_briefly()
            made = await change.store.ensure_partitions(days=days)
            # Afterwards: whoever drops a partition says so in the same transaction. One that was dropped just
            # before, and was made anew here, goes again with this transaction.
            archived_through = await change.store.archived_through()
            if archived_through is not None and days[0] <= archived_through:
                self.archived_through = archived_through
                raise TryAgainError(f"raw events are in the archive through {archived_through}")
            return made


def days_to_keep_ready(today: date) -> list[date]:
    """Today and the days after it whose partitions should exist."""
    return [today + timedelta(days=ahead) for ahead in range(DAYS_AHEAD + 1)]


async def keep_partitions_ready(database: Database[Store]) -> None:
    """For ever, hourly: make partitions. The event handler makes what is missing, so being late is safe."""
    await run_forever("partitions", lambda: make_partitions(database), _EVERY_S, retry_s=_RETRY_S)


async def make_partitions(database: Database[Store]) -> int:
    """Makes those that are missing; returns of how many days."""
    return await Partitions(database).ensure(days_to_keep_ready(utc_now().date()))
