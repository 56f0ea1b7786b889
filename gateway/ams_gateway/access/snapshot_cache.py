"""The in-process cache of keys and services: bounded, and what it holds is given at once.

Names are the Redis keys of ams_common.snapshots, so that an invalidation names its entry directly. That what
is held is still true is confirmed in the background (confirmations.py); no request waits for that.
"""

import asyncio
import itertools
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

# Among so many of the entries that were confirmed longest ago the one used longest ago is pushed out.
_EVICTION_SAMPLE = 16


class SourceDownError(Exception):
    """Nobody who could know has answered in time."""


class Source(Protocol):
    """The owner of snapshots, whose word is the truth."""

    async def load(self, name: str) -> bytes | None:
        """The serialised snapshot; None when there is none. Raises SourceDownError."""

    async def check(self, held: Mapping[str, int]) -> dict[str, bytes | None]:
        """Of names and the versions held of them, what differs: the snapshot, None where there is none any
        more. Raises SourceDownError."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A serialised snapshot, None when there is none; and whether the owner said so, or a copy that may be
    old."""

    data: bytes | None
    is_by_owner: bool


class CopiedSource(Protocol):
    """An owner with copies in front of it, which are nearer and may be old."""

    async def load(self, name: str) -> Loaded:
        """From the copies, or from the owner where they have none. Raises SourceDownError."""

    async def load_from_owner(self, name: str) -> bytes | None:
        """Past the copies. Raises SourceDownError."""

    def offer(self, name: str, data: bytes, version: int) -> None:
        """Put what the owner said where the copies are, if there is none and none was newer. Doesn't wait."""

    async def check(self, held: Mapping[str, int]) -> dict[str, bytes | None]:
        """As Source.check."""

    async def read_copies(self, names: list[str]) -> dict[str, bytes]:
        """The copies that there are. Raises SourceDownError."""


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


class _InFlight(Generic[T]):
    """A load on its way. `is_invalidated`: an invalidation came meanwhile, so its result isn't kept."""

    __slots__ = ("is_invalidated", "task")

    def __init__(self) -> None:
        self.is_invalidated = False
        self.task: asyncio.Task[Entry[T]]


class SnapshotCache(Generic[T]):
    def __init__(
        self,
        source: CopiedSource,
        read: Callable[[bytes], T],
        limits: CacheLimits,
        *,
        version_of: Callable[[T], int],
        other_names: Callable[[T], tuple[str, ...]] = lambda _: (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`version_of`: of two values of one name the higher is in force; 0 is one that can't be compared.
        `other_names`: every name a value goes by; an invalidation of one drops them all."""
        self._source = source
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
        self._in_flight: dict[str, _InFlight[T]] = {}
        self._slots = asyncio.Semaphore(limits.max_loads)
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

    async def get(self, name: str) -> T | None:
        """The value, or None when there is none. Waits only for what isn't held, and a bounded time. Raises
        SourceDownError when nobody knows."""
        entry = self.get_cached(name)
        if entry is None:
            load = self._in_flight.get(name) or self._start(name)
            entry = await asyncio.shield(load.task)
        return entry.value

    def invalidate(self, name: str) -> None:
        """Drop a name and all that the same value goes by, and what is being loaded for them."""
        names = {name} | self._aliases.get(name, set())
        entry = self._entries.get(name)
        if entry is not None and entry.value is not None:
            names.update(self._other_names(entry.value))
        for each in names:
            held = self._entries.get(each)
            if held is not None:
                self._outdate(each, held.version)
            self._drop(each)
            load = self._in_flight.pop(each, None)
            if load is not None:
                load.is_invalidated = True

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
        """The higher version wins. One as high as what is held confirms it. A lower one says nothing: then the
        answer is True."""
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

    # Loading what isn't held

    def _start(self, name: str) -> _InFlight[T]:
        load: _InFlight[T] = _InFlight()
        load.task = asyncio.create_task(self._load(name, load))
        load.task.add_done_callback(_retrieve)
        self._in_flight[name] = load
        return load

    async def _load(self, name: str, load: _InFlight[T]) -> Entry[T]:
        try:
            async with asyncio.timeout(self._limits.load_timeout_s), self._slots:
                # Aged from before it is asked for: what changes meanwhile counts as later.
                entry = await self._ask(name, self._clock())
        except TimeoutError as error:
            raise SourceDownError("nobody answered in time") from error
        finally:
            if self._in_flight.get(name) is load:
                del self._in_flight[name]
        if load.is_invalidated:
            self._outdate(name, entry.version)
        else:
            self._keep(name, entry)
        return entry

    async def _ask(self, name: str, now_s: float) -> Entry[T]:
        held = self._entries.get(name)
        outdated = max(self._outdated.get(name, 0), held.version - 1 if held is not None else 0)
        loaded = await self._source.load(name)
        if loaded.is_by_owner:
            return self._owned(name, loaded.data, now_s)
        copy = self._try_read(name, loaded.data) if loaded.data is not None else None
        version = self._version_of(copy) if copy is not None else -1
        # Due at once: a copy may be old in a way that nobody here can see.
        entry = Entry(copy, version, now_s, -math.inf)
        if version >= 0 and (version > outdated or outdated == 0):
            return entry
        try:
            return self._owned(name, await self._source.load_from_owner(name), now_s)
        except SourceDownError:
            # An invalidation may come twice: the copy is then as new as what was dropped for it.
            if version < outdated or copy is None:
                raise
            return entry

    def _owned(self, name: str, data: bytes | None, now_s: float) -> Entry[T]:
        if data is None:
            return Entry(None, 0, now_s, now_s)
        value = self._try_read(name, data)
        if value is None:
            raise SourceDownError("the owner's answer can't be read")
        version = self._version_of(value)
        self._source.offer(name, data, version)
        return Entry(value, version, now_s, now_s)

    def _try_read(self, name: str, data: bytes) -> T | None:
        """None for what can't be read: one bad copy must not fail requests that its owner can answer."""
        try:
            return self._read(data)
        except Exception:
            log.exception("a snapshot of %s can't be read", _kind(name))
            return None

    # The tables

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


def _retrieve(task: asyncio.Task[Entry[T]]) -> None:
    """A load's failure is its askers' exception; when they have all gone, it is nobody's."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, SourceDownError):
        log.error("a snapshot could not be loaded", exc_info=error)
