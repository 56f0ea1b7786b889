"""The daily partitions of usage_events, made before the first event of their day comes."""

from datetime import date, timedelta

from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.loops import run_forever

from usage_svc.store import Store

DAYS_AHEAD = 7
_EVERY_S = 3600.0
_RETRY_S = 30.0


def days_to_keep_ready(today: date) -> list[date]:
    """Today and the days after it whose partitions should exist."""
    return [today + timedelta(days=ahead) for ahead in range(DAYS_AHEAD + 1)]


async def keep_partitions_ready(database: Database[Store]) -> None:
    """For ever, hourly: make partitions. The event handler makes what is missing, so being late is safe."""
    await run_forever("partitions", lambda: make_partitions(database), _EVERY_S, retry_s=_RETRY_S)


async def make_partitions(database: Database[Store]) -> int:
    """Makes those that are missing; returns how many were."""
    async with database.change_by_system("usage.make_partitions", audited=False) as change:
        return await change.store.ensure_partitions(days=days_to_keep_ready(utc_now().date()))
