"""The worker's journal: every event is in a file before its response ends, and leaves it when Kafka has
acknowledged it.

A journal is a directory that its worker holds a lock on (flock, so that a killed worker's lock is gone
with it): segments `00000001.seg`, … and `acked`, the position up to which all is acknowledged. The segment
that is being written is mapped into memory, so that an event costs no system call; its blocks are reserved
on disk beforehand, so that a full disk is an error when a segment is begun and never a fault amid a write.
Events are in the page cache: they outlive the process, not the machine. Kafka being away costs disk, not
memory.
"""

import contextlib
import fcntl
import logging
import mmap
import os
import shutil
import struct
import uuid
import zlib
from dataclasses import dataclass
from pathlib import Path

from ams_gateway.metering.records import pack_record, read_records

log = logging.getLogger(__name__)

LOCK_NAME = "lock"
_ACKED_NAME = "acked"
_POSITION = struct.Struct(">QQI")
_NEW_PREFIX = ".new-"
_NAME_PREFIX = "journal-"


class JournalError(Exception):
    """The event could not be written: its response must not be completed."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a journal: segment number and offset in bytes."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class JournalLimits:
    segment_bytes: int = 8 * 1024 * 1024
    # Unacknowledged bytes of one worker; beyond it new requests are refused.
    max_bytes: int = 1024 * 1024 * 1024


class JournalFiles:
    """The files of one journal, one's own or a dead worker's. Holds its lock until closed."""

    def __init__(self, directory: Path, lock_fd: int) -> None:
        self.directory = directory
        self._lock_fd = lock_fd
        self.acked = self._read_acked()
        self._acked_fd = os.open(directory / _ACKED_NAME, os.O_WRONLY | os.O_CREAT, 0o640)

    def segments(self) -> list[int]:
        return sorted(int(path.stem) for path in self.directory.glob("*.seg"))

    def path(self, segment: int) -> Path:
        return self.directory / f"{segment:08d}.seg"

    def size_bytes(self, before: int | None = None) -> int:
        """On disk; `before`: only of the segments before that one."""
        segments = [segment for segment in self.segments() if before is None or segment < before]
        return sum(self.path(segment).stat().st_size for segment in segments)

    def read(self, limit_bytes: int, end: Position | None = None) -> tuple[list[bytes], Position]:
        """Events after the acknowledged position, in order, and the position after them.

        `end` is where the writer is; None for a dead worker's journal, where a torn tail is skipped.
        """
        position = self.acked
        for segment in self.segments():
            if segment < position.segment:
                continue
            if segment > position.segment:
                position = Position(segment, 0)
            until = end.offset if end is not None and segment == end.segment else None
            events, offset = self._read_segment(position, limit_bytes, until)
            position = Position(segment, offset)
            if events:
                return events, position
            if until is None and (left_bytes := self._written_bytes(position)) > 0:
                # A torn tail's request was never answered; after a crash of the machine it may be more.
                log.critical("journal damaged, its rest is skipped", extra={"bytes": left_bytes})
        return [], position

    def _written_bytes(self, start: Position) -> int:
        """How much of the segment after `start` has been written: what is only reserved is zeros."""
        with self.path(start.segment).open("rb") as file:
            file.seek(start.offset)
            return len(file.read().rstrip(b"\0"))

    def _read_segment(self, start: Position, limit_bytes: int, until: int | None) -> tuple[list[bytes], int]:
        size = self.path(start.segment).stat().st_size if until is None else until
        with self.path(start.segment).open("rb") as file:
            file.seek(start.offset)
            data = file.read(min(limit_bytes, size - start.offset))
        events, offset = [], start.offset
        for event, after in read_records(data):
            events.append(event)
            offset = start.offset + after
        return events, offset

    def acknowledge(self, position: Position) -> None:
        """All before `position` is with Kafka: remember it, and delete segments that hold nothing else."""
        later = [segment for segment in self.segments() if segment > position.segment]
        if later and position.offset >= self.path(position.segment).stat().st_size:
            position = Position(later[0], 0)
        body = struct.pack(">QQ", position.segment, position.offset)
        os.pwrite(self._acked_fd, body + struct.pack(">I", zlib.crc32(body)), 0)
        self.acked = position
        for segment in self.segments():
            if segment < position.segment:
                self.path(segment).unlink()

    def _read_acked(self) -> Position:
        try:
            data = (self.directory / _ACKED_NAME).read_bytes()
        except FileNotFoundError:
            data = b""
        if len(data) == _POSITION.size:
            segment, offset, checksum = _POSITION.unpack(data)
            if zlib.crc32(data[:16]) == checksum:
                return Position(segment, offset)
        # Sent again from the start: the events carry their ids.
        return Position(0, 0)

    def remove(self) -> None:
        """Delete the journal, in which everything is acknowledged, and its lock with it."""
        shutil.rmtree(self.directory)
        self.close()

    def close(self) -> None:
        os.close(self._acked_fd)
        os.close(self._lock_fd)


def create(root: Path) -> JournalFiles:
    """A new journal, visible to others only once it is locked."""
    root.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    hidden = root / f"{_NEW_PREFIX}{name}"
    hidden.mkdir()
    lock_fd = os.open(hidden / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o640)
    fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    visible = root / f"{_NAME_PREFIX}{name}"
    hidden.rename(visible)
    return JournalFiles(visible, lock_fd)


def adopt(root: Path) -> list[JournalFiles]:
    """The journals under `root` that nobody holds any more, locked for us."""
    return [files for path in sorted(root.glob(f"{_NAME_PREFIX}*")) if (files := _lock(path)) is not None]


def _lock(directory: Path) -> JournalFiles | None:
    try:
        lock_fd = os.open(directory / LOCK_NAME, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another worker may have replayed and removed it between our open and our lock.
        if (directory / LOCK_NAME).stat().st_ino == os.fstat(lock_fd).st_ino:
            return JournalFiles(directory, lock_fd)
    except OSError:
        pass
    os.close(lock_fd)
    return None


class Journal:
    """The writing side. One writer, one event loop."""

    def __init__(self, files: JournalFiles, limits: JournalLimits) -> None:
        self.files = files
        self._limits = limits
        self._segment = 1
        self._offset = 0
        self._map = self._map_segment(1, limits.segment_bytes)
        self._closed_bytes = 0
        self.appended = 0
        # Of journals taken over from dead workers: they fill the same disk.
        self.adopted_bytes = 0
        self._unwritten: list[bytes] = []
        self._is_alarmed = False

    @property
    def end(self) -> Position:
        return Position(self._segment, self._offset)

    @property
    def size_bytes(self) -> int:
        return self._closed_bytes + self._offset + self.adopted_bytes

    def is_accepting(self) -> bool:
        """False while full or failing: requests are refused rather than served unmetered."""
        accepting = self.size_bytes < self._limits.max_bytes and not self._unwritten
        if accepting == self._is_alarmed:
            self._is_alarmed = not accepting
            if accepting:
                log.warning("journal takes events again")
            else:
                log.critical(
                    "journal full or failing, requests are refused", extra={"bytes": self.size_bytes}
                )
        return accepting

    def append(self, event: bytes) -> None:
        """Raises JournalError when the event isn't safely in the file; it is then kept in memory and
        tried again by `retry`, and no new request is taken until that has worked."""
        try:
            self._write(event)
        except OSError as error:
            self._unwritten.append(event)
            log.critical("journal can't be written", exc_info=error)
            raise JournalError from error

    def retry(self) -> None:
        """Write what could not be written before."""
        with contextlib.suppress(OSError):
            while self._unwritten:
                self._write(self._unwritten[0])
                del self._unwritten[0]

    def _write(self, event: bytes) -> None:
        record = pack_record(event)
        end = self._offset + len(record)
        if end > len(self._map):
            self._make_room(len(record))
            end = self._offset + len(record)
        self._map[self._offset : end] = record
        self._offset = end
        self.appended += 1

    def _make_room(self, size_bytes: int) -> None:
        """In a new segment. When there can't be one, the present one grows."""
        if self._offset > 0:
            try:
                self._rotate(size_bytes)
                return
            except OSError as error:
                log.warning("journal has no new segment", exc_info=error)
        self._map = self._map_segment(self._segment, self._offset + size_bytes)

    def _rotate(self, size_bytes: int = 0) -> None:
        self._map = self._map_segment(self._segment + 1, max(size_bytes, self._limits.segment_bytes))
        self._trim()
        self._closed_bytes += self._offset
        self._segment += 1
        self._offset = 0

    def _map_segment(self, segment: int, size_bytes: int) -> mmap.mmap:
        """Raises OSError when the disk hasn't got that much."""
        fd = os.open(self.files.path(segment), os.O_RDWR | os.O_CREAT, 0o640)
        try:
            os.posix_fallocate(fd, 0, size_bytes)
            return mmap.mmap(fd, size_bytes)
        finally:
            os.close(fd)

    def _trim(self) -> None:
        """Give back what is reserved behind the last event. When that fails, it is read as empty."""
        with contextlib.suppress(OSError):
            os.truncate(self.files.path(self._segment), self._offset)

    def acknowledge(self, position: Position) -> None:
        """See JournalFiles.acknowledge. A segment that is done with is left at once when it is the
        last and holds much, so that a quiet worker keeps no disk."""
        self.files.acknowledge(position)
        if position == self.end and self._offset >= self._limits.segment_bytes // 8:
            self._rotate()
            self.files.acknowledge(self.end)
        self._closed_bytes = self.files.size_bytes(before=self._segment)

    def close(self) -> None:
        """Goes without a trace when everything is acknowledged; else stays to be adopted."""
        self.retry()
        self._map.close()
        self._trim()
        if self.files.acked == self.end or self.appended == 0:
            self.files.remove()
        else:
            self.files.close()
