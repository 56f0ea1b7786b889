"""The in-process cache of keys and services: bounded, and what it holds is given at once.

That what is held is still true is confirmed in the background (confirmations.py); no request waits for that.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ams_gateway.access.snapshot_table import CacheLimits, Entry, SnapshotTable
from ams_gateway.tasks import end_task

T = TypeVar("T")

log = logging.getLogger(__name__)


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

    async def close(self) -> None:
        """Ends what is still being offered."""

    async def read_copies(self, names: list[str]) -> dict[str, bytes]:
        """The copies that there are. Raises SourceDownError."""


class _InFlight(Generic[T]):
    """A load on its way. `is_invalidated`: an invalidation came meanwhile, so its result isn't kept."""

    __slots__ = ("is_invalidated", "task")

    def __init__(self) -> None:
        self.is_invalidated = False
        self.task: asyncio.Task[Entry[T]]


class SnapshotCache(SnapshotTable[T]):
    """What is held, and the loading of what isn't."""

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
        super().__init__(read, limits, version_of=version_of, other_names=other_names, clock=clock)
        self._source = source
        self._in_flight: dict[str, _InFlight[T]] = {}
        # Those whose name was invalidated meanwhile, too.
        self._running: set[asyncio.Task[Entry[T]]] = set()
        self._slots = asyncio.Semaphore(limits.max_loads)

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
        for each in self._invalidate(name):
            load = self._in_flight.pop(each, None)
            if load is not None:
                load.is_invalidated = True

    async def close(self) -> None:
        """Ends what is still being loaded, and has the source end what it still does: afterwards nobody uses
        the copies' connections any more."""
        for task in list(self._running):
            await end_task(task)
        await self._source.close()

    # Loading what isn't held

    def _start(self, name: str) -> _InFlight[T]:
        load: _InFlight[T] = _InFlight()
        load.task = asyncio.create_task(self._load(name, load))
        load.task.add_done_callback(_retrieve)
        self._running.add(load.task)
        load.task.add_done_callback(self._running.discard)
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


def _retrieve(task: asyncio.Task[Entry[T]]) -> None:
    """A load's failure is its askers' exception; when they have all gone, it is nobody's."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, SourceDownError):
        log.error("a snapshot could not be loaded", exc_info=error)
