"""The one timer of a worker: whatever has a deadline is looked at by it, now and then. Where consumers'
connections are as many as there may be, the time of the idle ones is over at once."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

TICK_S = 0.1


class Connection(Protocol):
    """A consumer's connection, whichever protocol serves it."""

    @property
    def unused_since_s(self) -> float | None:
        """Since when no request has been on it; None: one is."""

    def sweep(self, now_s: float) -> None:
        """Close it if it has been without progress for too long."""

    def close(self) -> None:
        """Close it, for it is unused."""


class Deadlines:
    """Calls and idle upstream connections are looked at on every tick; consumers' connections once in
    `sweep_s`, a part of them on each tick, so that many of them make no pause."""

    def __init__(self, sweep_s: float, max_connections: int) -> None:
        self.connections: set[Connection] = set()
        self._max_connections = max_connections
        self._full_until_s = 0.0
        self._ticks_per_sweep = max(1, round(sweep_s / TICK_S))
        self._due: list[Connection] = []
        self._per_tick = 0
        self._on_tick: tuple[Callable[[float], None], ...] = ()
        self._timer: asyncio.TimerHandle | None = None
        self._due_at_s = 0.0
        # The longest that a tick has come late: so long nothing else was done either.
        self.stall_s = 0.0

    def start(self, *on_tick: Callable[[float], None]) -> None:
        """`on_tick` are called with the loop's time on each tick."""
        self._on_tick = on_tick
        self._schedule()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def admit(self, connection: Connection) -> bool:
        """Look after a new connection; False: there is no room for it."""
        if len(self.connections) >= self._max_connections and not self._make_room():
            return False
        self.connections.add(connection)
        return True

    def _make_room(self) -> bool:
        """Close half of the unused connections, those that have been unused longest: their clients can open
        another. Half, so that a crowd that comes at once doesn't have them all looked through each time."""
        now_s = time.monotonic()
        if now_s < self._full_until_s:
            return False
        unused = [
            (since_s, each) for each in self.connections if (since_s := each.unused_since_s) is not None
        ]
        if not unused:
            self._full_until_s = now_s + TICK_S
            return False
        unused.sort(key=lambda pair: pair[0])
        for _, each in unused[: -(-len(unused) // 2)]:
            self.connections.discard(each)
            each.close()
        return True

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        self._due_at_s = time.monotonic() + TICK_S
        self._timer = loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self.stall_s = max(self.stall_s, time.monotonic() - self._due_at_s)
        self._schedule()
        now_s = asyncio.get_running_loop().time()
        for call in self._on_tick:
            call(now_s)
        if not self._due:
            self._due = list(self.connections)
            self._per_tick = -(-len(self._due) // self._ticks_per_sweep)
        for connection in self._due[-self._per_tick :] if self._per_tick else ():
            connection.sweep(now_s)
        del self._due[-self._per_tick or len(self._due) :]
