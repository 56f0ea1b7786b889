"""The one timer of a worker: whatever has a deadline is looked at by it, now and then."""

import asyncio
from collections.abc import Callable
from typing import Protocol

TICK_S = 0.1


class Connection(Protocol):
    """A consumer's connection, whichever protocol serves it."""

    def sweep(self, now_s: float) -> None:
        """Close it if it has been without progress for too long."""


class Deadlines:
    """Calls and idle upstream connections are looked at on every tick; consumers' connections once in
    `sweep_s`, a part of them on each tick, so that many of them make no pause."""

    def __init__(self, sweep_s: float) -> None:
        self.connections: set[Connection] = set()
        self._ticks_per_sweep = max(1, round(sweep_s / TICK_S))
        self._due: list[Connection] = []
        self._per_tick = 0
        self._on_tick: tuple[Callable[[float], None], ...] = ()
        self._timer: asyncio.TimerHandle | None = None

    def start(self, *on_tick: Callable[[float], None]) -> None:
        """`on_tick` are called with the loop's time on each tick."""
        self._on_tick = on_tick
        self._schedule()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _tick(self) -> None:
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
