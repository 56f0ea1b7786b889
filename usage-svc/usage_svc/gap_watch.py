"""Tells operators of gaps in gateways' journals."""

import logging
from datetime import datetime

from ams_common import metrics
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.loops import run_forever

from usage_svc.journals import JournalGap, settled_range
from usage_svc.store import Store

log = logging.getLogger(__name__)

_EVERY_S = 60.0


async def watch_for_gaps(database: Database[Store]) -> None:
    """For ever, every minute: the metric ams_usage_missing_events, and a line for each gap that is new."""
    known: set[JournalGap] = set()

    async def look() -> None:
        nonlocal known
        gaps = set(await find_gaps(database, utc_now()))
        for gap in gaps - known:
            log.critical(
                "events of a journal are missing", extra={**gap._asdict(), "journal_id": str(gap[0])}
            )
        known = gaps
        metrics.gauge(
            "ams_usage_missing_events",
            "Events that gateways numbered and that were never counted.",
            over_workers="livesum",
        ).set(sum(gap.missing for gap in gaps))

    await run_forever("gaps", look, _EVERY_S)


async def find_gaps(database: Database[Store], now: datetime) -> list[JournalGap]:
    """The journals of which events are missing that should have come by `now`."""
    async with database.read() as store:
        return await store.journal_gaps(**settled_range(now))
