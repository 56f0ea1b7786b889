"""A journal's files, one's own or a dead worker's: who holds them, what is read of them, what is done with.

A journal is a directory that its worker holds a lock on (flock, so that a killed worker's lock is gone with
it): segments `00000001.seg`, …, `acked`, the position up to which all is acknowledged, and `totals`, how many
events there were in all at a time (see forwarded.py). Nothing here needs room on the disk to read,
acknowledge and delete: a full disk is drained like any other.
"""

import fcntl
import logging
import os
import shutil
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from ams_gateway.metering.forwarded import SavedTotals
from ams_gateway.metering.kept import KeptSegments, keep_nothing
from ams_gateway.metering.records import read_records

log = logging.getLogger(__name__)

LOCK_NAME = "lock"
_ACKED_NAME = "acked"
_TOTALS_NAME = "totals"
_POSITION = struct.Struct(">QQI")
_NEW_PREFIX = ".new-"
_NAME_PREFIX = "journal-"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a journal: segment number and offset in bytes."""

    segment: int
    offset: int


class JournalFiles:
    """Holds the journal's lock until closed."""

    def __init__(self, directory: Path, lock_fd: int, kept: KeptSegments) -> None:
        self.directory = directory
        self._kept = kept
        # The writer adds to them; nobody else does. Ascending.
        self.segments = sorted(int(path.stem) for path in directory.glob("*.seg"))
        self.acked = self._read_acked()
        self._lock_fd = lock_fd
        self._is_acked_saved = True

    @property
    def name(self) -> str:
        """The journal's id in hex digits."""
        return self.directory.name.removeprefix(_NAME_PREFIX)

    def path(self, segment: int) -> Path:
        return self.directory / f"{segment:08d}.seg"

    def size_bytes(self) -> int:
        return sum(self.path(segment).stat().st_size for segment in self.segments)

    def read(
        self, limit_bytes: int, end: Position | None = None, start: Position | None = None
    ) -> tuple[list[bytes], Position]:
        """Events after `start` (None: the acknowledged position), in order, and the position after them.

        `end` is where reading ends at the latest; None for a dead worker's journal, where a torn tail is
        skipped.
        """
        position = start or self.acked
        for segment in self.segments:
            if segment < position.segment:
                continue
            if end is not None and segment > end.segment:
                break
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
            data = file.read(max(0, min(limit_bytes, size - start.offset)))
        events, offset = [], start.offset
        for event, after in read_records(data):
            events.append(event)
            offset = start.offset + after
        return events, offset

    def _beyond(self, position: Position) -> Position:
        """The same place: at the beginning of the next segment, if it is at one's end."""
        later = [segment for segment in self.segments if segment > position.segment]
        if later and position.offset >= self.path(position.segment).stat().st_size:
            return Position(later[0], 0)
        return position

    def lets_go_of_a_segment(self, position: Position) -> bool:
        """Whether acknowledging this position will."""
        return bool(self.segments) and self.segments[0] < self._beyond(position).segment

    def acknowledge(self, position: Position) -> None:
        """All before `position` is with Kafka: let go of segments that hold nothing else, and remember it."""
        self.acked = position = self._beyond(position)
        # Deleted first: on a full disk that makes the room in which to remember. Were it not remembered then,
        # reading would begin at the first segment that is left.
        while self.segments and self.segments[0] < position.segment:
            self._kept.take(self.path(self.segments[0]), self.name)
            del self.segments[0]
        self._save_acked()

    def _save_acked(self) -> None:
        """What can't be saved is sent again after a restart, and counted once: no reason to stop."""
        try:
            _write_acked(self.directory, self.acked)
        except OSError as error:
            if self._is_acked_saved:
                log.warning("acknowledged position can't be saved", extra={"error": repr(error)})
            self._is_acked_saved = False
        else:
            self._is_acked_saved = True

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

    def save_totals(self, saved: SavedTotals) -> bool:
        """Whether there was room for it; else what was saved before is still there."""
        written = self.directory / f"{_TOTALS_NAME}.new"
        try:
            written.write_bytes(saved.to_bytes())
            written.rename(self.directory / _TOTALS_NAME)
        except OSError:
            return False
        return True

    def saved_totals(self) -> SavedTotals:
        """Of no event, where none were saved."""
        try:
            return SavedTotals.from_bytes((self.directory / _TOTALS_NAME).read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            # What was told of them before stands: it is only that it grows no more.
            log.critical("a journal's totals can't be read", extra={"error": repr(error)})
        return SavedTotals(0, {})

    def remove(self) -> None:
        """Delete the journal, in which everything is acknowledged, and its lock with it."""
        if self._kept.is_on and self.acked.segment in self.segments and self.acked.offset:
            path = self.path(self.acked.segment)
            os.truncate(path, self.acked.offset)
            self._kept.take(path, self.name)
        shutil.rmtree(self.directory)
        self.close()

    def close(self) -> None:
        os.close(self._lock_fd)


def create(root: Path, name: str, kept: KeptSegments) -> JournalFiles:
    """A new journal, visible to others only once it is locked. Raises OSError, and leaves nothing then."""
    root.mkdir(parents=True, exist_ok=True)
    hidden, visible = root / f"{_NEW_PREFIX}{name}", root / f"{_NAME_PREFIX}{name}"
    lock_fd = None
    try:
        hidden.mkdir()
        lock_fd = os.open(hidden / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o640)
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its bytes are taken now: on a disk that has filled up they are there to be written over.
        _write_acked(hidden, Position(1, 0))
        hidden.rename(visible)
    except OSError:
        shutil.rmtree(hidden, ignore_errors=True)
        if lock_fd is not None:
            os.close(lock_fd)
        raise
    return JournalFiles(visible, lock_fd, kept)


def _write_acked(directory: Path, position: Position) -> None:
    body = struct.pack(">QQ", position.segment, position.offset)
    fd = os.open(directory / _ACKED_NAME, os.O_WRONLY | os.O_CREAT, 0o640)
    try:
        if os.pwrite(fd, body + struct.pack(">I", zlib.crc32(body)), 0) != _POSITION.size:
            raise OSError("acknowledged position was cut off")
    finally:
        os.close(fd)


def adopt(root: Path, kept: KeptSegments | None = None) -> list[JournalFiles]:
    """The journals under `root` that nobody holds any more, locked for us. `kept`: where segments go when
    they are acknowledged; None: nowhere."""
    kept = kept or keep_nothing(root)
    paths = sorted(root.glob(f"{_NAME_PREFIX}*"))
    return [files for path in paths if (files := _lock(path, kept)) is not None]


def _lock(directory: Path, kept: KeptSegments) -> JournalFiles | None:
    try:
        lock_fd = os.open(directory / LOCK_NAME, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another worker may have replayed and removed it between our open and our lock.
        if (directory / LOCK_NAME).stat().st_ino == os.fstat(lock_fd).st_ino:
            return JournalFiles(directory, lock_fd, kept)
    except OSError:
        pass
    os.close(lock_fd)
    return None
