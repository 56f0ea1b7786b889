"""What a cache of snapshots holds, and the rules by which it changes. Pure but for its clock: no I/O.

Names are the Redis keys of ams_common.snapshots, so that an invalidation names its entry directly.
"""

import itertools
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

# Among so many of the entries that were confirmed longest ago the one used longest ago is pushed out.
_EVICTION_SAMPLE = 16


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """How much is cached and for how long."""

    max_entries: int = 100_000
    # "Not found" is kept apart, so that made-up keys can't push good ones out.
    max_missing: int = 10_000
    missing_s: float = 5.0
    # Everything held is confirmed with its owner this often, used or not: what is used again after an hour
    # must not be an hour old. 100,000 entries are eight batches a second.
    confirm_s: float = 25.0
    # Nothing older is ever served, whoever is away; and nothing is held that wasn't used for so long.
    max_stale_s: float = 3600.0
    # How long the asker of a name that isn't held waits in all.
    load_timeout_s: float = 1.0
    # Loads at once; others wait for their turn within their time.
    max_loads: int = 64


class Entry(Generic[T]):
    """One cached answer; `value` None means that there is no such thing."""

    __slots__ = ("checked_at_s", "known_at_s", "used_at_s", "value", "version")

    def __init__(self, value: T | None, version: int, known_at_s: float, checked_at_s: float) -> None:
        self.value = value
        self.version = version
        # When it was last known to be true, by the owner or a copy: what max_stale_s counts from.
        self.known_at_s = known_at_s
        # When it was last compared with what the owner says, or a copy if the owner was away.
        self.checked_at_s = checked_at_s
        self.used_at_s = known_at_s


class SnapshotTable(Generic[T]):
    """Of two values of one name the higher version is in force, wherever the other comes from."""

    def __init__(
        self,
        read: Callable[[bytes], T],
        limits: CacheLimits,
        *,
        version_of: Callable[[T], int],
        other_names: Callable[[T], tuple[str, ...]] = lambda _: (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`version_of`: 0 is one that can't be compared. `other_names`: every name a value goes by; an
        invalidation of one drops them all."""
        self._read = read
        self._limits = limits
        self._version_of = version_of
        self._other_names = other_names
        self._clock = clock
        # Ordered by checked_at_s: what is due to be confirmed is in front.
        self._entries: OrderedDict[str, Entry[T]] = OrderedDict()
        self._missing: OrderedDict[str, Entry[T]] = OrderedDict()
        # Versions that aren't in force any more, of names that were dropped: a copy must be newer.
        self._outdated: OrderedDict[str, int] = OrderedDict()
        self._aliases: dict[str, set[str]] = {}
        # What was checked before this moment may have changed without a word to us.
        self._gap_at_s = -math.inf

    def __len__(self) -> int:
        return len(self._entries) + len(self._missing)

    def get_cached(self, name: str) -> Entry[T] | None:
        """The entry if one is held. Never any I/O, whatever its age and whoever is away."""
        entry = self._entries.get(name)
        now_s = self._clock()
        if entry is not None:
            if now_s - entry.known_at_s > self._limits.max_stale_s:
                return None
            entry.used_at_s = now_s
            return entry
        entry = self._missing.get(name)
        if entry is None or now_s - entry.known_at_s > self._limits.missing_s:
            return None
        return entry

    def set_connected(self, connected: bool) -> None:
        """Whether invalidations come in from now on. Either way some may have been missed: everything stays
        in use, and is due to be confirmed."""
        self._gap_at_s = self._clock()

    # What confirmations.py calls

    def take_due(self, count: int) -> dict[str, Entry[T]]:
        """Up to `count` entries that are due to be confirmed, those checked longest ago first."""
        now_s, limits = self._clock(), self._limits
        due: dict[str, Entry[T]] = {}
        unused: list[str] = []
        for name, entry in self._entries.items():
            is_fresh = entry.checked_at_s >= self._gap_at_s and now_s - entry.checked_at_s < limits.confirm_s
            if is_fresh or len(due) + len(unused) == count:
                break
            if now_s - entry.used_at_s > limits.max_stale_s:
                unused.append(name)
            else:
                due[name] = entry
        for name in unused:
            self._drop(name)
        return due

    def confirm(
        self, asked: Mapping[str, Entry[T]], changes: Mapping[str, bytes | None], asked_at_s: float
    ) -> None:
        """What the owner answered, when it was asked at that time for those entries."""
        older = 0
        for name, entry in asked.items():
            if self._entries.get(name) is not entry:
                continue  # Invalidated or loaded meanwhile: the answer may be the older one.
            if name not in changes:
                self._check(name, entry, known_at_s=asked_at_s, checked_at_s=asked_at_s)
                continue
            data = changes[name]
            if data is None:
                # Not even a copy of what was held counts from now on.
                self._outdate(name, entry.version + 1)
                self._keep(name, Entry(None, 0, asked_at_s, asked_at_s))
                continue
            older += self._update(name, entry, data, asked_at_s)
        _report(older, "the owner")

    def compare_copies(
        self, asked: Mapping[str, Entry[T]], copies: Mapping[str, bytes], asked_at_s: float
    ) -> None:
        """What the copies are, when the owner couldn't be asked for those entries."""
        older = 0
        for name, entry in asked.items():
            if self._entries.get(name) is not entry:
                continue
            data = copies.get(name)
            if data is None:
                # That a copy is gone says nothing.
                self._check(name, entry, known_at_s=entry.known_at_s, checked_at_s=asked_at_s)
            else:
                older += self._update(name, entry, data, asked_at_s)
        _report(older, "copies")

    def _update(self, name: str, entry: Entry[T], data: bytes, asked_at_s: float) -> bool:
        """A version as high as what is held confirms it. A lower one says nothing, and the answer is then
        True."""
        value = self._try_read(name, data)
        version = self._version_of(value) if value is not None else -1
        if value is not None and (version > entry.version or version == entry.version == 0):
            newer = Entry(value, version, asked_at_s, asked_at_s)
            newer.used_at_s = entry.used_at_s
            self._keep(name, newer)
            return False
        known_at_s = asked_at_s if version == entry.version else entry.known_at_s
        self._check(name, entry, known_at_s=known_at_s, checked_at_s=asked_at_s)
        return version < entry.version

    def _check(self, name: str, entry: Entry[T], *, known_at_s: float, checked_at_s: float) -> None:
        entry.known_at_s, entry.checked_at_s = known_at_s, checked_at_s
        self._entries.move_to_end(name)

    # Changing what is held

    def _invalidate(self, name: str) -> set[str]:
        """Drop a name and all that the same value goes by; returns them all."""
        names = {name} | self._aliases.get(name, set())
        entry = self._entries.get(name)
        if entry is not None and entry.value is not None:
            names.update(self._other_names(entry.value))
        for each in names:
            held = self._entries.get(each)
            if held is not None:
                self._outdate(each, held.version)
            self._drop(each)
        return names

    def _try_read(self, name: str, data: bytes) -> T | None:
        """None for what can't be read: one bad copy must not fail requests that its owner can answer."""
        try:
            return self._read(data)
        except Exception:
            log.exception("a snapshot of %s can't be read", _kind(name))
            return None

    def _keep(self, name: str, entry: Entry[T]) -> None:
        self._drop(name)
        if entry.value is None:
            self._missing[name] = entry
            if len(self._missing) > self._limits.max_missing:
                self._missing.popitem(last=False)
            return
        self._outdated.pop(name, None)
        self._entries[name] = entry
        if entry.checked_at_s == -math.inf:
            self._entries.move_to_end(name, last=False)
        for other in self._other_names(entry.value):
            if other != name:
                self._aliases.setdefault(other, set()).add(name)
        while len(self._entries) > self._limits.max_entries:
            self._evict(name)

    def _evict(self, kept: str) -> None:
        oldest = itertools.islice(self._entries.items(), _EVICTION_SAMPLE)
        self._drop(min((entry.used_at_s, name) for name, entry in oldest if name != kept)[1])

    def _outdate(self, name: str, version: int) -> None:
        if version > 0:
            self._outdated[name] = version
            self._outdated.move_to_end(name)
            if len(self._outdated) > self._limits.max_entries:
                self._outdated.popitem(last=False)

    def _drop(self, name: str) -> None:
        self._missing.pop(name, None)
        entry = self._entries.pop(name, None)
        if entry is None or entry.value is None:
            return
        for other in self._other_names(entry.value):
            cached_under = self._aliases.get(other)
            if cached_under is not None:
                cached_under.discard(name)
                if not cached_under:
                    del self._aliases[other]


def _report(older: int, by_whom: str) -> None:
    if older:
        log.warning("%s had older versions of %d snapshots than are held", by_whom, older)


def _kind(name: str) -> str:
    """What a log may say of a name: not the hash of anybody's key."""
    return name.rpartition(":")[0]
