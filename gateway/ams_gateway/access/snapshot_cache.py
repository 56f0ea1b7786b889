"""The in-process cache of keys and services: bounded, stale-while-revalidate, one load per name.

Names are the Redis keys of ams_common.snapshots, so that an invalidation names its entry directly.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


class SourceDownError(Exception):
    """Neither Redis nor the owning service could answer."""


class Source(Protocol):
    """Where a snapshot comes from when it isn't cached."""

    async def load(self, name: str) -> bytes | None:
        """The serialised snapshot; None when there is none. Raises SourceDownError."""


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """How much is cached and for how long."""

    max_entries: int = 100_000
    # "Not found" is kept apart, so that made-up keys can't push good ones out.
    max_missing: int = 10_000
    # Older than this is still served, and loaded anew meanwhile.
    fresh_s: float = 30.0
    # While no invalidations come in nothing older is used: it is loaded anew before use.
    disconnected_ttl_s: float = 0.5
    missing_s: float = 5.0
    # Nothing older is ever served, whoever is away.
    max_stale_s: float = 3600.0
    # How long after a failed load nobody tries again for that name.
    retry_s: float = 1.0


class Entry(Generic[T]):
    """One cached answer; `value` None means that there is no such thing."""

    __slots__ = ("loaded_at_s", "must_revalidate", "retry_at_s", "value")

    def __init__(self, value: T | None, loaded_at_s: float) -> None:
        self.value = value
        self.loaded_at_s = loaded_at_s
        self.retry_at_s = 0.0
        # An invalidation may have been missed: it is loaded anew before use.
        self.must_revalidate = False


class _InFlight(Generic[T]):
    """A load on its way. `invalidated`: an invalidation came meanwhile, so its result is not to be kept."""

    __slots__ = ("invalidated", "task")

    def __init__(self) -> None:
        self.invalidated = False
        self.task: asyncio.Task[Entry[T]]


class SnapshotCache(Generic[T]):
    def __init__(
        self,
        source: Source,
        read: Callable[[bytes], T],
        limits: CacheLimits,
        *,
        other_names: Callable[[T], tuple[str, ...]] = lambda _: (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`other_names`: every name a value goes by; an invalidation of one drops them all."""
        self._source = source
        self._read = read
        self._limits = limits
        self._other_names = other_names
        self._clock = clock
        self._entries: OrderedDict[str, Entry[T]] = OrderedDict()
        self._missing: OrderedDict[str, Entry[T]] = OrderedDict()
        self._aliases: dict[str, set[str]] = {}
        self._in_flight: dict[str, _InFlight[T]] = {}
        self._is_connected = False

    def __len__(self) -> int:
        return len(self._entries) + len(self._missing)

    def get_cached(self, name: str) -> Entry[T] | None:
        """The entry if it may be used at once; starts a background load when it has gone stale."""
        entry = self._entries.get(name) or self._missing.get(name)
        if entry is None or entry.must_revalidate:
            return None
        age_s = self._clock() - entry.loaded_at_s
        limits = self._limits
        if age_s <= limits.disconnected_ttl_s or (self._is_connected and age_s <= limits.missing_s):
            return entry
        if not self._is_connected or (entry.value is None) or age_s > limits.max_stale_s:
            return None
        if age_s > limits.fresh_s and name not in self._in_flight and self._clock() >= entry.retry_at_s:
            self._entries.move_to_end(name)
            self._start(name)
        return entry

    async def get(self, name: str) -> T | None:
        """The value, or None when there is none. Raises SourceDownError when nobody knows."""
        entry = self.get_cached(name)
        if entry is not None:
            return entry.value
        stale = self._servable(name)
        if stale is not None and self._clock() < stale.retry_at_s:
            return stale.value
        load = self._in_flight.get(name) or self._start(name)
        try:
            return (await asyncio.shield(load.task)).value
        except SourceDownError:
            stale = self._servable(name)
            if stale is None:
                raise
            return stale.value

    def _servable(self, name: str) -> Entry[T] | None:
        """What may be served while the sources are away; "not found" is not among it."""
        entry = self._entries.get(name)
        if entry is None or self._clock() - entry.loaded_at_s > self._limits.max_stale_s:
            return None
        return entry

    def invalidate(self, name: str) -> None:
        """Drop a name and all that the same value goes by, and what is being loaded for them."""
        names = {name} | self._aliases.get(name, set())
        entry = self._entries.get(name)
        if entry is not None and entry.value is not None:
            names.update(self._other_names(entry.value))
        for each in names:
            self._drop(each)
            load = self._in_flight.pop(each, None)
            if load is not None:
                load.invalidated = True

    def set_connected(self, connected: bool) -> None:
        """Whether invalidations come in from now on. Either way some may have been missed, so everything is
        loaded anew before it is used again."""
        self._is_connected = connected
        for entry in (*self._entries.values(), *self._missing.values()):
            entry.must_revalidate = True
        for load in self._in_flight.values():
            load.invalidated = True
        self._in_flight.clear()

    def _start(self, name: str) -> _InFlight[T]:
        load: _InFlight[T] = _InFlight()
        load.task = asyncio.create_task(self._load(name, load))
        load.task.add_done_callback(_retrieve)
        self._in_flight[name] = load
        return load

    async def _load(self, name: str, load: _InFlight[T]) -> Entry[T]:
        # Aged from before the load: what changed while it was under way counts as later.
        started_at_s = self._clock()
        try:
            data = await self._source.load(name)
            value = self._read(data) if data is not None else None
        except SourceDownError:
            stale = self._entries.get(name)
            if stale is not None:
                stale.retry_at_s = self._clock() + self._limits.retry_s
            raise
        finally:
            if self._in_flight.get(name) is load:
                del self._in_flight[name]
        entry = Entry(value, started_at_s)
        if not load.invalidated:
            self._keep(name, entry)
        return entry

    def _keep(self, name: str, entry: Entry[T]) -> None:
        self._drop(name)
        if entry.value is None:
            self._missing[name] = entry
            if len(self._missing) > self._limits.max_missing:
                self._missing.popitem(last=False)
            return
        self._entries[name] = entry
        for other in self._other_names(entry.value):
            if other != name:
                self._aliases.setdefault(other, set()).add(name)
        while len(self._entries) > self._limits.max_entries:
            self._drop(next(iter(self._entries)))

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


def _retrieve(task: asyncio.Task[Entry[T]]) -> None:
    """A background load's failure is nobody's exception; the entry's retry time has been set."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, SourceDownError):
        log.error("a snapshot could not be loaded", exc_info=error)
