"""How many names are looked up at once, and whose: one dead name server, or one merchant's thousand dead
names, must leave threads to all others."""

import asyncio
import contextlib
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LookupLimits:
    max_lookups: int = 32
    # Of one owner's names: running, and waiting for their turn.
    max_per_owner: int = 2
    max_waiting_per_owner: int = 16
    # A look-up that takes longer makes its owner slow for a while. A name server that answers takes a tenth.
    slow_after_s: float = 1.0
    slow_for_s: float = 60.0
    # Of all slow owners together.
    max_slow: int = 8
    # For a turn.
    wait_s: float = 2.0
    max_owners_remembered: int = 10_000


class NoSlotError(Exception):
    """No turn came in time."""


class LookupShares:
    """Who may start one more look-up. Pure: no I/O, no clock."""

    def __init__(self, limits: LookupLimits) -> None:
        self._limits = limits
        # By a number of its own: whose, and since when.
        self._running: dict[int, tuple[str, float]] = {}
        self._by_owner: Counter[str] = Counter()
        self._slow_until_s: OrderedDict[str, float] = OrderedDict()
        self._next = 0

    def admits(self, owner_id: str, now_s: float) -> bool:
        """Whether the owner may have one more now. Slow owners have no more than their common share."""
        limits = self._limits
        if len(self._running) >= limits.max_lookups or self._by_owner[owner_id] >= limits.max_per_owner:
            return False
        if not self._is_slow(owner_id, now_s):
            return True
        slow = sum(
            now_s - started_at_s > limits.slow_after_s or self._is_slow(owner, now_s)
            for owner, started_at_s in self._running.values()
        )
        return slow < limits.max_slow

    def start(self, owner_id: str, now_s: float) -> int:
        """Count a look-up in; the number is for `end`."""
        self._next += 1
        self._running[self._next] = (owner_id, now_s)
        self._by_owner[owner_id] += 1
        return self._next

    def end(self, number: int, now_s: float) -> None:
        owner_id, started_at_s = self._running.pop(number)
        self._by_owner[owner_id] -= 1
        if not self._by_owner[owner_id]:
            del self._by_owner[owner_id]
        if now_s - started_at_s > self._limits.slow_after_s:
            self._slow_until_s[owner_id] = now_s + self._limits.slow_for_s
            self._slow_until_s.move_to_end(owner_id)
            if len(self._slow_until_s) > self._limits.max_owners_remembered:
                self._slow_until_s.popitem(last=False)

    def _is_slow(self, owner_id: str, now_s: float) -> bool:
        until_s = self._slow_until_s.get(owner_id)
        return until_s is not None and now_s < until_s


class LookupSlots:
    """Turns for look-ups, in the order in which they were asked for as far as shares allow."""

    def __init__(self, limits: LookupLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._shares = LookupShares(limits)
        self._waiting: deque[tuple[str, asyncio.Future[int]]] = deque()
        self._waiting_by_owner: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def of(self, owner_id: str) -> AsyncIterator[None]:
        """A look-up of one of the owner's names. Raises NoSlotError."""
        number = await self._acquire(owner_id)
        try:
            yield
        finally:
            self._shares.end(number, self._clock())
            self._hand_out()

    async def _acquire(self, owner_id: str) -> int:
        now_s = self._clock()
        if self._shares.admits(owner_id, now_s):
            return self._shares.start(owner_id, now_s)
        if self._waiting_by_owner[owner_id] >= self._limits.max_waiting_per_owner:
            raise NoSlotError
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((owner_id, turn))
        self._waiting_by_owner[owner_id] += 1
        try:
            async with asyncio.timeout(self._limits.wait_s):
                return await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                # It came just as the wait ended.
                self._shares.end(turn.result(), self._clock())
                self._hand_out()
            if isinstance(error, TimeoutError):
                raise NoSlotError from error
            raise
        finally:
            self._waiting_by_owner[owner_id] -= 1
            if not self._waiting_by_owner[owner_id]:
                del self._waiting_by_owner[owner_id]

    def _hand_out(self) -> None:
        now_s = self._clock()
        for owner_id, turn in list(self._waiting):
            if turn.done():
                self._waiting.remove((owner_id, turn))
            elif self._shares.admits(owner_id, now_s):
                self._waiting.remove((owner_id, turn))
                turn.set_result(self._shares.start(owner_id, now_s))
