"""Segments that Kafka has acknowledged, kept for a while: what it loses afterwards can be sent again.

One folder for all workers of a gateway, beside their journals. Whoever looks after it does what is due; none
of them owns a file. A disk that has filled up takes it back first.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_FOLDER = "kept"


@dataclass(frozen=True, slots=True)
class KeepLimits:
    # 0: nothing is kept.
    keep_s: float = 0.0
    # Of all workers' journals together.
    max_bytes: int = 4 * 1024 * 1024 * 1024


class KeptSegments:
    def __init__(self, root: Path, limits: KeepLimits) -> None:
        self._directory = root / _FOLDER
        self._limits = limits

    @property
    def is_on(self) -> bool:
        return self._limits.keep_s > 0

    def take(self, segment: Path, journal: str) -> None:
        """Take a segment out of its journal: by renaming, so that it costs nothing. What can't be kept is
        deleted, as if keeping were off. Raises OSError when that doesn't work either."""
        if self.is_on:
            try:
                self._directory.mkdir(exist_ok=True)
                # Its age counts from here.
                os.utime(segment)
                segment.rename(self._directory / f"{journal}-{segment.name}")
                return
            except OSError:
                pass
        segment.unlink()

    def expire(self, now_s: float) -> None:
        """Delete what is older than it is kept for, and the oldest of what is too much. `now_s` in Unix
        time."""
        if not self._directory.exists():
            return
        files = self._by_age()
        too_many_bytes = sum(size for _, size, _ in files) - self._limits.max_bytes
        for at_s, size, path in files:
            if too_many_bytes <= 0 and now_s - at_s <= self._limits.keep_s:
                break
            path.unlink(missing_ok=True)
            too_many_bytes -= size

    def give_back(self, size_bytes: int) -> bool:
        """Delete the oldest for so much room on the disk; whether there was anything to delete."""
        deleted_bytes = 0
        for _, size, path in self._by_age():
            if deleted_bytes >= size_bytes:
                break
            path.unlink(missing_ok=True)
            deleted_bytes += size
        return deleted_bytes > 0

    def _by_age(self) -> list[tuple[float, int, Path]]:
        """When it was kept, size and path, the oldest first."""
        files = []
        for path in self._directory.glob("*.seg"):
            # Another worker may have deleted it meanwhile.
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        return sorted(files)


def keep_nothing(root: Path) -> KeptSegments:
    return KeptSegments(root, KeepLimits())


def segments_on_disk(root: Path, journal: str | None) -> list[tuple[str, Path]]:
    """Every segment there is, kept or not, with its journal's name (32 hex digits); of `journal` alone if it
    is given. In each journal's order."""
    found = []
    for path in root.glob(f"{_FOLDER}/*.seg"):
        name, _, number = path.stem.partition("-")
        found.append((name, int(number), path))
    for path in root.glob("journal-*/*.seg"):
        found.append((path.parent.name.removeprefix("journal-"), int(path.stem), path))
    return [(name, path) for name, _, path in sorted(found) if journal in (None, name)]
