"""Making reports in the background: one after the other, each in a file, with a sign of life on the way."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ams.identity.v1.notifications_pb2 import Notification, ReportReady
from ams.usage.v1 import report_service_pb2 as pb
from ams_common import metrics, topics
from ams_common.clock import Clock, to_timestamp, utc_now
from ams_common.database import Database
from ams_common.errors import DeadlineExceededError, UnavailableError
from ams_common.loops import run_forever
from ams_common.pseudonyms import Pseudonyms
from ams_common.wakeups import Wakeups

from usage_svc.file_store import FileStore
from usage_svc.reporting.facts import FactSources, ReportFacts
from usage_svc.reporting.pdf import MAX_ROWS, TooManyRowsError
from usage_svc.reporting.reports import MAX_ATTEMPTS, Report, tells_owner
from usage_svc.reporting.store import ReportStore
from usage_svc.reporting.tables import columns_of
from usage_svc.reporting.writers import writer_of

log = logging.getLogger(__name__)

# Whoever makes a report is heard of several times within it, a chunk at a time.
STALE_AFTER = timedelta(minutes=5)
_BEAT_EVERY_S = 2.0
_CHUNK = 10_000
_POLL_S = 5.0
_PURGE_EVERY_S = 60.0
_PURGE_BATCH = 100


class _FailedError(Exception):
    """The report can't be made, and its owner is told why."""


class _LostError(Exception):
    """Somebody else has begun it anew, or it was deleted."""


@dataclass(kw_only=True, eq=False)
class ReportMaker:
    """Makes what waits. Several of them, in any processes, share the work."""

    database: Database
    files: FileStore
    pseudonyms: Pseudonyms
    sources: FactSources
    keep: timedelta
    clock: Clock = utc_now
    chunk: int = _CHUNK

    async def run(self, database_url: str) -> None:
        """For ever, as soon as one is asked for."""

        async def work() -> None:
            async with Wakeups.open(database_url, "reports") as wakeups:
                while True:
                    wakeups.clear()
                    if not await self.make_one():
                        await wakeups.wait(_POLL_S)

        await run_forever("reports", work, _POLL_S)

    async def make_one(self) -> bool:
        """Makes the next one; returns whether there was any."""
        async with self.database.change_by_system("report.claim", audited=False) as change:
            report = await ReportStore(change.connection).claim_report(stale_after=STALE_AFTER)
        if report is None:
            return False
        name = report.stored_as(report.attempt)
        # What attempts before have left behind.
        for attempt in range(1, report.attempt):
            await asyncio.to_thread(self.files.delete, report.stored_as(attempt))
        try:
            if report.attempt > MAX_ATTEMPTS:
                raise _FailedError("It could not be made. Ask for a shorter period.")
            rows = await self._write(report, name)
            is_kept = await self._finish(report, rows, await self._size_bytes(name))
        except _FailedError as error:
            await self._fail(report, str(error))
            is_kept = False
        except _LostError:
            is_kept = False
        if not is_kept:
            await asyncio.to_thread(self.files.delete, name)
        return True

    async def _write(self, report: Report, name: str) -> int:
        """Makes the file; returns how many rows it has."""
        beat = _Heartbeat(self.database, report)
        facts = ReportFacts(self.sources, report, beat.still_alive)
        columns = columns_of(report, self.pseudonyms, facts)
        stretches = report.stretches()
        with ExitStack() as stack:
            # A file may be anywhere: opening, writing and closing it wait in threads.
            file = await asyncio.to_thread(stack.enter_context, self.files.create(name))
            try:
                writer = await asyncio.to_thread(writer_of, report, columns, file)
                stack.callback(writer.close)
                for done, (start, end) in enumerate(stretches):
                    async with self.database.read() as opened:
                        store = ReportStore(opened.connection)
                        await store.plan_each_time()
                        await self._check_kept(store, report, start)
                        async for lines in store.lines(report, start, end, self.chunk):
                            await facts.learn(lines)
                            cells = await asyncio.to_thread(_cells, columns, lines)
                            await asyncio.to_thread(writer.add, cells)
                            await beat.tell(100 * done // len(stretches), len(lines))
                    await beat.tell(100 * (done + 1) // len(stretches), 0)
                await asyncio.to_thread(writer.finish)
            except (UnavailableError, DeadlineExceededError):
                raise _FailedError(
                    "Names and spend can't be told at the moment. Ask for it again later."
                ) from None
            except TooManyRowsError:
                raise _FailedError(
                    f"A PDF holds at most {MAX_ROWS:,} rows. Ask for another format or a shorter period."
                ) from None
            finally:
                await asyncio.to_thread(stack.close)
        return beat.rows

    async def _size_bytes(self, name: str) -> int:
        try:
            return await asyncio.to_thread(self.files.size_bytes, name)
        except FileNotFoundError:
            # A later attempt has cleaned up after this one.
            raise _LostError from None

    async def _check_kept(self, store: ReportStore, report: Report, start: datetime) -> None:
        """In the transaction that reads: a day can't be dropped between the look and the reading."""
        if report.detail == pb.CALLS:
            day = start.date()
            if await store.find_dropped_day(first_day=day, last_day=day) is not None:
                raise _FailedError(f"The single calls of {day} are no longer kept.")

    async def _finish(self, report: Report, rows: int, size_bytes: int) -> bool:
        now = self.clock()
        async with self.database.change_by_system("report.finish", audited=False) as change:
            finished = await ReportStore(change.connection).finish_report(
                report_id=report.report_id,
                attempt=report.attempt,
                rows=rows,
                size_bytes=size_bytes,
                finished_at=now,
                expires_at=now + self.keep,
            )
            if finished and tells_owner(report.created_at, now):
                change.publish(topics.NOTIFICATIONS, str(report.owner_id), _ready(report, now))
        _counter().labels("ready" if finished else "lost").inc()
        return bool(finished)

    async def _fail(self, report: Report, error: str) -> None:
        async with self.database.change_by_system("report.fail", audited=False) as change:
            await ReportStore(change.connection).fail_report(
                report_id=report.report_id, attempt=report.attempt, error=error, finished_at=self.clock()
            )
        _counter().labels("failed").inc()

    async def purge(self) -> int:
        """Removes reports that are too old or deleted, files first; returns how many."""
        async with self.database.read() as opened:
            found = await ReportStore(opened.connection).reports_to_purge(
                now=self.clock(), stale_after=STALE_AFTER, limit=_PURGE_BATCH
            )
        for report in found:
            for attempt in range(1, report.attempt + 1):
                await asyncio.to_thread(self.files.delete, report.stored_as(attempt))
            async with self.database.change_by_system("report.purge", audited=False) as change:
                await ReportStore(change.connection).remove_report(report_id=report.report_id)
        return len(found)

    async def keep_purged(self) -> None:
        """For ever, every minute."""

        async def work() -> None:
            while await self.purge() == _PURGE_BATCH:
                pass

        await run_forever("retention of reports", work, _PURGE_EVERY_S)


class _Heartbeat:
    """Tells the database how far a report is, and finds out whether it is still wanted."""

    def __init__(self, database: Database, report: Report) -> None:
        self._database = database
        self._report = report
        self._told_at = 0.0
        self._progress_percent = 0
        self.rows = 0

    async def still_alive(self) -> None:
        """As far as before. Raises _LostError."""
        await self.tell(self._progress_percent, 0)

    async def tell(self, progress_percent: int, more_rows: int) -> None:
        """At most every two seconds. Raises _LostError."""
        self.rows += more_rows
        self._progress_percent = progress_percent
        now = asyncio.get_running_loop().time()
        if now - self._told_at < _BEAT_EVERY_S:
            return
        self._told_at = now
        async with self._database.change_by_system("report.beat", audited=False) as change:
            told = await ReportStore(change.connection).beat(
                report_id=self._report.report_id,
                attempt=self._report.attempt,
                progress_percent=progress_percent,
                rows=self.rows,
            )
        if not told:
            raise _LostError


def _cells(columns: Sequence[Any], lines: Sequence[Any]) -> list[list[Any]]:
    return [[column.cell(line) for column in columns] for line in lines]


def _ready(report: Report, now: datetime) -> Notification:
    return Notification(
        notification_id=f"report-ready/{report.report_id}",
        user_id=str(report.owner_id),
        occurred_at=to_timestamp(now),
        report_ready=ReportReady(
            report_id=str(report.report_id),
            first_day=report.first_day.isoformat(),
            last_day=report.last_day.isoformat(),
        ),
    )


def _counter() -> Any:
    return metrics.counter("ams_reports", "Reports that were made, by outcome.", "outcome")
