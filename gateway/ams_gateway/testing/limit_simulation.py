"""Many workers' limiters in one event loop whose time is virtual, before the pure form of Redis' rule."""

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from redis.asyncio import Redis

from ams_gateway.access.limits.allowance import Allowance
from ams_gateway.access.limits.bucket import LimitBucket
from ams_gateway.access.limits.limiter import Limiter
from ams_gateway.access.limits.policy import CounterId
from ams_gateway.access.limits.store import Beat, LeaseStore, StoreDownError
from ams_gateway.access.limits.window import Ask, Counters, Reply, lease

START_MS = 1_795_000_000_000


class _Clock(selectors.DefaultSelector):
    """Instead of waiting for the next timer, it is the next timer's time."""

    now_s = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            self.now_s += timeout or 0
        return ready


def simulate(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    clock = _Clock()

    def new_loop() -> asyncio.AbstractEventLoop:
        loop = asyncio.SelectorEventLoop(clock)
        loop.time = lambda: clock.now_s  # type: ignore[method-assign]
        return loop

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(story())


class SimulatedRedis:
    """Everybody's Redis: `is_down` refuses calls, `lose_memory` is a restart without data."""

    def __init__(self, seed: int, *, latency_s: tuple[float, float] = (0.0005, 0.003)) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a load, no secret
        self.is_down = False
        self.calls = 0
        self.latency_s = latency_s
        self._epoch = 0
        self.resume_ms = 0
        self.counters: dict[CounterId, Counters] = {}
        self.workers: list[str] = []

    def lose_memory(self) -> None:
        self._epoch += 1
        self.resume_ms = 0
        self.counters.clear()

    def now_ms(self) -> int:
        # Its clock has nothing to do with the workers', and runs at a rate of its own.
        return START_MS + int(asyncio.get_running_loop().time() * 1000.3)

    async def travel(self) -> None:
        await asyncio.sleep(self.random.uniform(*self.latency_s))
        if self.is_down:
            raise StoreDownError

    @property
    def epoch(self) -> bytes:
        return b"%d" % self._epoch


class SimulatedStore(LeaseStore):
    def __init__(self, redis: SimulatedRedis) -> None:
        super().__init__(Redis(), timeout_s=1)
        self._simulated = redis

    async def exchange(self, asks: Sequence[tuple[CounterId, Ask]]) -> list[Reply | None]:
        redis = self._simulated
        await redis.travel()
        redis.calls += 1
        replies: list[Reply | None] = []
        for counter, ask in asks:
            reply, redis.counters[counter] = lease(
                redis.counters.get(counter, Counters()), ask, redis.now_ms()
            )
            replies.append(reply)
        await redis.travel()
        return replies

    async def beat(self, wait_ms: int) -> Beat:
        redis = self._simulated
        await redis.travel()
        if self.worker not in redis.workers:
            redis.workers = sorted([*redis.workers, self.worker])
        now_ms = redis.now_ms()
        if wait_ms:
            redis.resume_ms = max(redis.resume_ms, now_ms + wait_ms)
        rank, wait_ms = redis.workers.index(self.worker), max(0, redis.resume_ms - now_ms)
        return Beat(redis.epoch, len(redis.workers), rank, now_ms, wait_ms)

    async def leave(self) -> None:
        self._simulated.workers.remove(self.worker)


async def open_limiter(redis: SimulatedRedis, workers: int) -> Limiter:
    limiter = Limiter(
        Redis(), workers_hint=workers, clock=asyncio.get_running_loop().time, store=SimulatedStore(redis)
    )
    await limiter.open()
    return limiter


async def call(bucket: LimitBucket) -> Allowance:
    return bucket.take() or await bucket.acquire()


def most_in_a_minute(times_s: list[float]) -> int:
    """The most that any 60 s had, both ends among them."""
    times_s, most, first = sorted(times_s), 0, 0
    for last, time_s in enumerate(times_s):
        while times_s[first] < time_s - 60.0:
            first += 1
        most = max(most, last - first + 1)
    return most
