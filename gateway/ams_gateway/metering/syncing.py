"""Puts the journal on the disk itself before answers end, so that their events outlive the machine.

One fdatasync for all answers that wait: a group gathers while the one before is written, and for a bounded
time at the least. The event loop goes on meanwhile.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ams_gateway.metering.journal import Journal
from ams_gateway.tasks import end_task

log = logging.getLogger(__name__)

_RETRY_S = 1.0


def sync_files(files: Sequence[Path], directories: Sequence[Path]) -> None:
    """Returns when they are on the disk. Raises OSError. What isn't there any more is with Kafka."""
    for path in files:
        _sync(path, os.O_RDWR, os.fdatasync)
    for path in directories:
        _sync(path, os.O_RDONLY, os.fsync)


def _sync(path: Path, flags: int, sync: Callable[[int], None]) -> None:
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(path, flags)
        try:
            sync(fd)
        finally:
            os.close(fd)


class GroupSync:
    def __init__(self, journal: Journal, gather_s: float) -> None:
        """`gather_s`: how long a group gathers, which is what an answer waits beside the disk."""
        self._journal = journal
        self._gather_s = gather_s
        self._waiting: list[Callable[[bool], None]] = []
        self._task: asyncio.Task[None] | None = None
        # The event loop's own threads may all be busy with slower things.
        self._thread = ThreadPoolExecutor(1, "journal-sync")
        # The segment that was being written at the last sync, and the latest whose name is on the disk.
        self._segment = self._named_segment = 0

    def after(self, done: Callable[[bool], None]) -> None:
        """Call `done` when all that has been written to the journal is on the disk, with whether that has
        worked."""
        self._waiting.append(done)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """While somebody waits, or the disk fails."""
        while self._waiting or self._journal.is_sync_failing:
            await asyncio.sleep(_RETRY_S if self._journal.is_sync_failing else self._gather_s)
            waiting, self._waiting = self._waiting, []
            is_synced = await self._sync_journal()
            self._journal.is_sync_failing = not is_synced
            for done in waiting:
                try:
                    done(is_synced)
                except Exception:
                    log.exception("an answer couldn't be ended")
        self._task = None

    async def _sync_journal(self) -> bool:
        segment, directories = self._journal.end.segment, self._journal.directories
        if segment == self._named_segment:
            directories = []
        files = self._journal.segments_from(self._segment)
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, sync_files, files, directories)
        except OSError as error:
            log.critical("journal can't be synced, requests are refused", extra={"error": repr(error)})
            return False
        self._segment = self._named_segment = segment
        return True

    async def close(self) -> None:
        if self._task is not None:
            await end_task(self._task)
        self._thread.shutdown()
