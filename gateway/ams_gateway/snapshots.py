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
    """Where a snapshot comes from when it isn't held."""

    async def load(self, name: str) -> bytes | None:
        """The serialised snapshot; None when there is none. Raises SourceDownError."""


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """How much is held and for how long."""

    max_entries: int = 100_000
    # "Not found" is held apart, so that made-up keys can't push good ones out.
    max_missing: int = 10_000
    # Older than this is still served, and loaded anew meanwhile.
    fresh_s: float = 30.0
    # The same while no invalidations can be heard; then it is loaded anew before use.
    unheard_fresh_s: float = 0.5
    missing_s: float = 5.0
    # Nothing older is ever served, whoever is away.
    max_stale_s: float = 3600.0
    # How long after a failed load nobody tries again for that name.
    retry_s: float = 1.0


class Entry(Generic[T]):
    """One held answer; `value` None means that there is no such thing."""

    __slots__ = ("loaded_at_s", "retry_at_s", "suspect", "value")

    def __init__(self, value: T | None, loaded_at_s: float, *, suspect: bool = False) -> None:
        self.value = value
        self.loaded_at_s = loaded_at_s
        self.retry_at_s = 0.0
        # An invalidation may have been missed: must be loaded anew before use.
        self.suspect = suspect


class _Flight(Generic[T]):
    """A load on its way. `overtaken`: an invalidation came meanwhile, so its result is not to be kept."""

    __slots__ = ("overtaken", "task")

    def __init__(self) -> None:
        self.overtaken = False
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
        self._flights: dict[str, _Flight[T]] = {}
        self._is_heard = False

    def __len__(self) -> int:
        return len(self._entries) + len(self._missing)

    def held(self, name: str) -> Entry[T] | None:
        """The entry if it may be used at once; starts a background load when it has gone stale."""
        entry = self._entries.get(name) or self._missing.get(name)
        if entry is None or entry.suspect:
            return None
        age_s = self._clock() - entry.loaded_at_s
        limits = self._limits
        if age_s <= limits.unheard_fresh_s or (self._is_heard and age_s <= limits.missing_s):
            return entry
        if not self._is_heard or (entry.value is None) or age_s > limits.max_stale_s:
            return None
        if age_s > limits.fresh_s and name not in self._flights and self._clock() >= entry.retry_at_s:
            self._entries.move_to_end(name)
            self._start(name)
        return entry

    async def get(self, name: str) -> T | None:
        """The value, or None when there is none. Raises SourceDownError when nobody knows."""
        entry = self.held(name)
        if entry is not None:
            return entry.value
        stale = self._servable(name)
        if stale is not None and self._clock() < stale.retry_at_s:
            return stale.value
        flight = self._flights.get(name) or self._start(name)
        try:
            return (await asyncio.shield(flight.task)).value
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
        """Forget a name and all that the same value goes by, and what is being loaded for them."""
        names = {name} | self._aliases.get(name, set())
        entry = self._entries.get(name)
        if entry is not None and entry.value is not None:
            names.update(self._other_names(entry.value))
        for each in names:
            self._drop(each)
            flight = self._flights.pop(each, None)
            if flight is not None:
                flight.overtaken = True

    def mark_heard(self, *, heard: bool) -> None:
        """Invalidations are (not) coming in. Either way some may have been missed: all is suspect."""
        self._is_heard = heard
        for entry in (*self._entries.values(), *self._missing.values()):
            entry.suspect = True
        for flight in self._flights.values():
            flight.overtaken = True
        self._flights.clear()

    def _start(self, name: str) -> _Flight[T]:
        flight: _Flight[T] = _Flight()
        flight.task = asyncio.create_task(self._load(name, flight))
        flight.task.add_done_callback(_retrieve)
        self._flights[name] = flight
        return flight

    async def _load(self, name: str, flight: _Flight[T]) -> Entry[T]:
        # Aged from before the load: what changed while it was under way counts as later.
        started_at_s = self._clock()
        try:
            data = await self._source.load(name)
            value = self._read(data) if data is not None else None
        except SourceDownError:
            held = self._entries.get(name)
            if held is not None:
                held.retry_at_s = self._clock() + self._limits.retry_s
            raise
        finally:
            if self._flights.get(name) is flight:
                del self._flights[name]
        entry = Entry(value, started_at_s)
        if not flight.overtaken:
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
            held_under = self._aliases.get(other)
            if held_under is not None:
                held_under.discard(name)
                if not held_under:
                    del self._aliases[other]


def _retrieve(task: asyncio.Task[Entry[T]]) -> None:
    """A background load's failure is nobody's exception; the entry's retry time has been set."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, SourceDownError):
        log.error("a snapshot could not be loaded", exc_info=error)
