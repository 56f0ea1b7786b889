"""The worker's journal: every event is in a file before its response ends, and leaves it when Kafka has
acknowledged it.

The segment that is being written is mapped into memory, so that an event costs no system call. Its blocks are
reserved on disk beforehand, and the next segment's before it is full: a full disk turns new calls away and
never faults amid a write. Events are in the page cache: they outlive the process, and the machine where they
are synced (see syncing.py). Kafka being away costs disk, not memory.

An event that can't be written is gone: its response is not completed, and so it is not billed, now or later.
"""

import contextlib
import errno
import logging
import mmap
import os
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ams_gateway.metering import files as journals
from ams_gateway.metering.encoding import consumer_of
from ams_gateway.metering.files import JournalFiles, Position
from ams_gateway.metering.forwarded import ForwardedTotals, SavedTotals
from ams_gateway.metering.kept import KeptSegments, keep_nothing
from ams_gateway.metering.records import pack_record

log = logging.getLogger(__name__)

_ZEROS = bytes(64 * 1024)
_NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


class JournalError(Exception):
    """The event could not be written: its response must not be completed."""


@dataclass(frozen=True, slots=True)
class JournalLimits:
    # Making, dropping and emptying one holds the event loop up: a millisecond at this size.
    segment_bytes: int = 4 * 1024 * 1024
    # Unacknowledged bytes of one worker; beyond it new requests are refused.
    max_bytes: int = 1024 * 1024 * 1024
    # Events that wait for the publisher in memory too, about 8 MB; those before them it reads from the files.
    max_recent: int = 20_000


class Journal:
    """The writing side. One writer, one event loop, and one journal for the life of a process."""

    def __init__(self, root: Path, limits: JournalLimits, kept: KeptSegments | None = None) -> None:
        """`kept`: where segments go when they are acknowledged; None: nowhere.

        Raises OSError unless the reason is a disk without room: then the journal begins as soon as there is
        some, and others' can be taken over and published meanwhile."""
        name = uuid.uuid4()
        self._kept = kept or keep_nothing(root)
        # Counted by who writes the events; see Meter.
        self.forwarded = ForwardedTotals()
        self.journal_id = name.bytes
        self._name = name.hex
        self._root = root
        self._limits = limits
        self._files: JournalFiles | None = None
        # None while there is no room for a segment at all; and the one that is reserved next.
        self._map: mmap.mmap | None = None
        self._spare: mmap.mmap | None = None
        self._segment = 1
        self._offset = 0
        self._capacity = 0
        # The segments before the present one, by what is in them.
        self._closed: dict[int, int] = {}
        self._closed_bytes = 0
        # How many events were written: the number of the last.
        self.appended = 0
        # Of journals taken over from dead workers: they fill the same disk.
        self.adopted_bytes = 0
        self._recent: defaultdict[str, list[bytes]] = defaultdict(list)
        self._recent_from = Position(1, 0)
        self._recent_limit = limits.max_recent
        self._has_room = True
        # Whether what is written to the files doesn't get to the disk itself; see GroupSync.
        self.is_sync_failing = False
        self._is_alarmed = False
        try:
            self._reserve()
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self._run_out(error)

    @property
    def end(self) -> Position:
        return Position(self._segment, self._offset)

    @property
    def acked(self) -> Position:
        return self._files.acked if self._files is not None else self.end

    @property
    def directory(self) -> Path | None:
        return self._files.directory if self._files is not None else None

    @property
    def directories(self) -> list[Path]:
        """Where the segments' names are, and where the journal's is."""
        return [self._files.directory, self._root] if self._files is not None else []

    def segments_from(self, segment: int) -> list[Path]:
        """Those written to since then, whether they are still there or not."""
        if self._files is None:
            return []
        return [self._files.path(number) for number in range(max(1, segment), self._segment + 1)]

    @property
    def size_bytes(self) -> int:
        return self._closed_bytes + self._offset + self.adopted_bytes

    def is_accepting(self) -> bool:
        """False while full or failing: requests are refused rather than served unmetered."""
        accepting = self._has_room and self.size_bytes < self._limits.max_bytes and not self.is_sync_failing
        if accepting == self._is_alarmed:
            self._is_alarmed = not accepting
            if accepting:
                log.warning("journal takes events again")
            else:
                log.critical(
                    "journal full or failing, requests are refused", extra={"bytes": self.size_bytes}
                )
        return accepting

    # Writing

    def append(self, consumer_id: str, event: bytes) -> None:
        """Write one consumer's event. Raises JournalError when it isn't safely in the file, and never will
        be."""
        record = pack_record(event)
        start = self._offset
        end = start + len(record)
        if end > self._capacity:
            self._turn_over(len(record))
            start, end = 0, len(record)
        # There is a map wherever there is capacity.
        self._map[start:end] = record  # type: ignore[index]
        self._offset = end
        self.appended += 1
        if self.appended > self._recent_limit:
            self._forget_recent(Position(self._segment, start))
        self._recent[consumer_id].append(event)

    def keep_room(self) -> None:
        """Reserve what will be needed next. To be called a few times a second: what is reserved in time fails
        new requests only, not those that are being answered."""
        try:
            self._reserve()
        except OSError as error:
            self._run_out(error)
        else:
            self._has_room = True

    def _reserve(self) -> None:
        if self._files is None:
            self._files = journals.create(self._root, self._name, self._kept)
        if self._map is None:
            self._map = self._map_segment(self._segment, self._limits.segment_bytes)
            self._capacity = len(self._map)
        elif self._spare is None and (not self._has_room or self._offset > self._capacity * 3 // 4):
            self._spare = self._map_segment(self._segment + 1, self._limits.segment_bytes)

    def _run_out(self, error: OSError) -> None:
        if self._has_room:
            log.critical("journal has no room", extra={"error": repr(error)})
        self._has_room = False

    def _turn_over(self, size_bytes: int) -> None:
        """Go on in the next segment."""
        try:
            if self._map is None:
                raise OSError(errno.ENOSPC, "the journal has no segment yet")
            if self._spare is None or len(self._spare) < size_bytes:
                self._spare = self._map_segment(
                    self._segment + 1, max(size_bytes, self._limits.segment_bytes)
                )
        except OSError as error:
            self._run_out(error)
            raise JournalError from error
        self._begin_spare()

    def _begin_spare(self) -> None:
        assert self._spare is not None
        self._trim()
        self._closed[self._segment] = self._offset
        self._closed_bytes += self._offset
        self._begin_segment(self._spare)
        self._spare = None

    def _begin_segment(self, mapped: mmap.mmap) -> None:
        self._map, self._capacity = mapped, len(mapped)
        self._has_room = True
        at_end = self._recent_from == self.end
        self._segment += 1
        self._offset = 0
        if at_end:
            self._recent_from = self.end

    def _map_segment(self, segment: int, size_bytes: int) -> mmap.mmap:
        """Raises OSError when the disk hasn't got that much, and takes nothing of it then. What is kept gives
        way to what is to be written."""
        try:
            return self._reserve_segment(segment, size_bytes)
        except OSError as error:
            if error.errno not in _NO_ROOM or not self._kept.give_back(size_bytes):
                raise
        return self._reserve_segment(segment, size_bytes)

    def _reserve_segment(self, segment: int, size_bytes: int) -> mmap.mmap:
        assert self._files is not None
        path = self._files.path(segment)
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
        try:
            os.posix_fallocate(fd, 0, size_bytes)
            mapped = mmap.mmap(fd, size_bytes)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(fd)
        if segment not in self._files.segments:
            self._files.segments.append(segment)
        return mapped

    def _trim(self) -> None:
        """Give back what is reserved behind the last event. When that fails, it is read as empty."""
        assert self._files is not None
        with contextlib.suppress(OSError):
            os.truncate(self._files.path(self._segment), self._offset)

    # Handing over to the publisher

    def take(self, limit_bytes: int) -> tuple[Mapping[str, Sequence[bytes]], int, Position]:
        """What isn't acknowledged, by consumer and in order; how many events; and the position after them.

        All from memory when that has them, else at most `limit_bytes` from the files. What was taken and not
        acknowledged is taken again.
        """
        if self._files is None:
            return {}, 0, self.end
        if self.is_recent:
            taken, self._recent = self._recent, defaultdict(list)
            self._recent_from = self.end
            self._recent_limit = self.appended + self._limits.max_recent
            return taken, sum(map(len, taken.values())), self.end
        events, position = self._files.read(limit_bytes, self._recent_from)
        return by_consumer(events), len(events), position

    @property
    def is_recent(self) -> bool:
        """Whether memory has all that isn't acknowledged."""
        return self.acked >= self._recent_from

    def _forget_recent(self, position: Position) -> None:
        """From `position` on they are kept again."""
        self._recent.clear()
        self._recent_from = position
        self._recent_limit = self.appended + self._limits.max_recent

    def acknowledge(self, position: Position) -> None:
        """See JournalFiles.acknowledge. A segment that is done with is left at once when it is the last and
        holds much, so that a quiet worker keeps no disk and a full one can write again. One that will be kept
        is filled up, as long as there is room."""
        if self._files is None:
            return
        self._let_go(position)
        is_left_early = not (self._kept.is_on and self._has_room)
        if position == self.end and self._offset >= self._limits.segment_bytes // 8 and is_left_early:
            if self._spare is not None:
                self._begin_spare()
                self._let_go(self.end)
            else:
                self._reuse_segment()
        for segment in [each for each in self._closed if each < self._files.acked.segment]:
            self._closed_bytes -= self._closed.pop(segment)

    def _let_go(self, position: Position) -> None:
        """Acknowledge, and save first what the segments count that go with it."""
        assert self._files is not None
        if not self._files.lets_go_of_a_segment(position):
            self._files.acknowledge(position)
            return
        is_saved = self._save_totals()
        self._files.acknowledge(position)
        # On a full disk there is room now. Killed before this, the totals that were told stand.
        if not is_saved and not self._save_totals():
            log.warning("forwarded totals can't be saved")

    def _save_totals(self) -> bool:
        assert self._files is not None
        totals = self.forwarded.all()
        return not totals or self._files.save_totals(SavedTotals(self.appended, totals))

    def _reuse_segment(self) -> None:
        """The present segment, all acknowledged, becomes the next: on a full disk there may be no other."""
        assert self._files is not None and self._map is not None
        self._save_totals()
        # Renamed before it is emptied: killed between the two, its events are sent again, and that is all.
        try:
            self._files.path(self._segment).rename(self._files.path(self._segment + 1))
        except OSError as error:
            log.warning("journal segment can't be used again", extra={"error": repr(error)})
            return
        for start in range(0, self._offset, len(_ZEROS)):
            size_bytes = min(len(_ZEROS), self._offset - start)
            self._map[start : start + size_bytes] = _ZEROS[:size_bytes]
        self._files.segments[-1] = self._segment + 1
        self._begin_segment(self._map)
        self._files.acknowledge(self.end)

    def close(self) -> None:
        """Goes without a trace when everything is acknowledged and told; else stays to be adopted."""
        if self._files is None:
            return
        for mapped in (self._map, self._spare):
            if mapped is not None:
                mapped.close()
        self._map, self._spare, self._capacity = None, None, 0
        if self.appended == 0 or (self._files.acked >= self.end and not self.forwarded.has_untold):
            self._files.remove()
            return
        self._trim()
        for segment in self._files.segments:
            if segment > self._segment:
                self._files.path(segment).unlink()
        self._files.close()


def by_consumer(events: Sequence[bytes]) -> dict[str, list[bytes]]:
    """Events of a file, each consumer's in order. Those that can't be read stand under ""."""
    groups: defaultdict[str, list[bytes]] = defaultdict(list)
    for event in events:
        groups[consumer_of(event)].append(event)
    return groups
