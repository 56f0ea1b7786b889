"""What is kept for how long: raw events go to the archive, minutes and trees go, hours, days and roots stay.

Each step can be the last one before a crash. Nothing is dropped that isn't in a file that was read back, and
the last look at what a partition holds and its drop are one transaction.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import asyncpg
from ams_common import metrics
from ams_common.clock import Clock, utc_now
from ams_common.database import Database
from ams_common.loops import run_forever

from usage_svc.file_store import FileStore
from usage_svc.retention.archive import ArchiveError, count_rows, export_day
from usage_svc.retention.store import Export, RetentionStore

T = TypeVar("T")

log = logging.getLogger(__name__)

_EVERY = timedelta(hours=1)
_LOOK_EVERY_S = 2.0
_RETRY_S = 60.0
_ATTEMPTS = 20
_PAUSE_S = 0.25
_JOURNALS = 100
_EVENTS, _MINUTES = "usage_events", "rollups_by_minute"


def days_before(names: list[str], first_kept: date) -> list[date]:
    """The days before `first_kept` among the names of daily partitions, the oldest first."""
    days = [datetime.strptime(name[-8:], "%Y%m%d").date() for name in names]  # noqa: DTZ007 - a day
    return sorted(day for day in days if day < first_kept)


@dataclass(kw_only=True, eq=False)
class Retention:
    """Keeps days as the settings say, counted back from today in UTC.

    `keep_events_days` says for how many days single calls are kept, by the platform's settings; None as long
    as nobody has told, and nothing of them is dropped.
    """

    database: Database
    files: FileStore
    keep_events_days: Callable[[], int | None]
    keep_minutes_days: int
    keep_trees_days: int
    clock: Clock = utc_now
    # For how many days calls were kept in the last round, and when that was.
    _kept_days: int | None = None
    _done_at: datetime | None = None

    async def run(self) -> None:
        """For ever: a round an hour, and one within seconds of a change of the settings. A round that ended
        early goes on a minute later."""
        await run_forever("retention", self.run_if_due, _LOOK_EVERY_S, retry_s=_RETRY_S)

    async def run_if_due(self) -> None:
        """A round, unless the last one was within the hour and for the same settings."""
        kept_days, now = self.keep_events_days(), self.clock()
        is_done = self._done_at is not None and now - self._done_at < _EVERY
        if is_done and kept_days == self._kept_days:
            return
        await self.run_once()
        self._kept_days, self._done_at = kept_days, now

    async def run_once(self) -> None:
        """One round, unless another process is at it."""
        async with self.database.connection() as connection:
            turn = RetentionStore(connection)
            if not await turn.try_turn():
                return
            try:
                await self._purge_journals()
                await self._purge_trees()
                await self._thin_minutes()
                # The last: while the archive can't be reached, nothing else waits for it.
                await self._archive_events()
            finally:
                await turn.end_turn()

    async def _archive_events(self) -> None:
        if (keep_days := self.keep_events_days()) is None:
            return
        for day in await self._old_days(_EVENTS, keep_days):
            for _ in range(_ATTEMPTS):
                export = await self._find_export(day) or await self._export(day)
                if await _with_patience(partial(self._drop_events, export)):
                    break
                # Late events have come since the export: once more, with them.
                await self._export(day)

    async def _find_export(self, day: date) -> Export | None:
        """An export that was made before; None if there is none, or its file is gone or damaged."""
        async with self.database.read() as opened:
            export = await RetentionStore(opened.connection).find_open_export(day=day)
        if export is None:
            return None
        try:
            rows = await asyncio.to_thread(count_rows, self.files, export.file_name)
        except (FileNotFoundError, ArchiveError):
            return None
        return export if rows == export.rows else None

    async def _export(self, day: date) -> Export:
        async with self.database.read() as opened:
            store = RetentionStore(opened.connection)
            export = await export_day(store, self.files, day, await store.next_part(day=day))
        async with self.database.change_by_system("retention.export", audited=False) as change:
            await RetentionStore(change.connection).set_export(
                day=day,
                part=export.part,
                file_name=export.file_name,
                rows=export.rows,
                size_bytes=export.size_bytes,
                exported_at=self.clock(),
            )
        _rows().inc(export.rows)
        return export

    async def _drop_events(self, export: Export) -> bool:
        """False: the partition holds something else than the file, and stays."""
        async with self.database.change_by_system("retention.drop", audited=False) as change:
            store = RetentionStore(change.connection)
            await store.wait_briefly()
            if await store.count_events_finally(export.day) != export.rows:
                return False
            await store.drop_partition(_EVENTS, f"{_EVENTS}_{export.day:%Y%m%d}")
            await store.set_dropped(day=export.day, part=export.part, dropped_at=self.clock())
        log.info("raw events archived", extra={"file": export.file_name, "rows": export.rows})
        return True

    async def _thin_minutes(self) -> None:
        for day in await self._old_days(_MINUTES, self.keep_minutes_days):
            name = f"{_MINUTES}_{day:%Y%m%d}"
            await _with_patience(partial(self._drop_minutes, name))

    async def _drop_minutes(self, name: str) -> None:
        async with self.database.change_by_system("retention.drop_minutes", audited=False) as change:
            store = RetentionStore(change.connection)
            await store.wait_briefly()
            await store.drop_partition(_MINUTES, name)

    async def _purge_journals(self) -> None:
        if (keep_days := self.keep_events_days()) is None:
            return
        before = self.clock() - timedelta(days=keep_days)
        purged = True
        while purged:
            async with self.database.change_by_system("retention.purge_journals", audited=False) as change:
                store = RetentionStore(change.connection)
                purged = bool(await store.purge_journals(before=before, limit=_JOURNALS))

    async def _purge_trees(self) -> None:
        """A day at a time: a tree is there as a whole, or its events can't be proven any more. Roots stay."""
        first_kept = self.clock().date() - timedelta(days=self.keep_trees_days)
        while True:
            async with self.database.change_by_system("retention.purge_trees", audited=False) as change:
                store = RetentionStore(change.connection)
                day = await store.oldest_tree_day()
                if day is None or day >= first_kept:
                    return
                await store.purge_tree_leaves(day=day)
                await store.purge_tree_blocks(day=day)

    async def _old_days(self, parent: str, keep_days: int) -> list[date]:
        async with self.database.read() as opened:
            names = await RetentionStore(opened.connection).partitions(parent=parent)
        return days_before(names, self.clock().date() - timedelta(days=keep_days))


async def _with_patience(work: Callable[[], Awaitable[T]]) -> T:
    """Does `work` again while others hold what it must lock."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return await work()
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            if attempt == _ATTEMPTS:
                raise
            await asyncio.sleep(_PAUSE_S)
    raise AssertionError("the last attempt returns or raises")


def _rows() -> Any:
    return metrics.counter("ams_archived_events", "Raw events written to the archive.")
