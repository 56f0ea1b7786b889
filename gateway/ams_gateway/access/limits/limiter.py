"""One worker's limits: who may pass now, by what is held, and asking Redis for more in the background."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from itertools import islice

from ams_gateway.access.limits.away import Share
from ams_gateway.access.limits.bucket import LimitBucket
from ams_gateway.access.limits.holding import FORGOTTEN_S, Holding
from ams_gateway.access.limits.policy import (
    CounterId,
    LimitPolicy,
    request_counter,
    spend_counters,
)
from ams_gateway.access.limits.schedule import Schedule
from ams_gateway.access.limits.store import LeaseStore, RedisClient, StoreDownError
from ams_gateway.access.limits.window import Ask, Limits, Reply
from ams_gateway.tasks import end_task

log = logging.getLogger(__name__)

# After this long without an answer Redis is away, and shares decide at once.
MAX_WAIT_S = 0.25
BEAT_S = 1.0
_BACKOFF_S = (0.05, 0.1, 0.2, 0.5, 1.0)
# Leases that have ended unspent are given back about so soon.
SWEEP_S = 0.05
_MAX_HOLDINGS = 100_000
# What nobody waits for is asked in pieces: one pipeline of thousands would stop the event loop, and its own
# answer would then be too late.
_MAX_BATCH = 200
# After an outage: how long workers need to notice that Redis is back and to tell it what they spent; and how
# long before leases begin again nobody spends.
SETTLE_S, _QUIET_S = 2.5, 0.2
# A counter whose node of a cluster doesn't answer is asked for again after this long.
_UNREACHABLE_S = 1.0


class Limiter:
    """`workers_hint`: how many workers this gateway has. Until Redis has said how many there are in all, each
    has that part of every limit. `redis` must be one that doesn't repeat calls (see LeaseStore)."""

    def __init__(
        self,
        redis: RedisClient,
        *,
        workers_hint: int,
        clock: Callable[[], float] = time.monotonic,
        max_holdings: int = _MAX_HOLDINGS,
        store: LeaseStore | None = None,
    ) -> None:
        self.clock = clock
        self._store = store or LeaseStore(redis, timeout_s=MAX_WAIT_S)
        self._max_holdings = max_holdings
        self._holdings: dict[CounterId, Holding] = {}
        self._waiting: dict[Holding, dict[LimitBucket, None]] = {}
        # Those with something to give back or report, or that will have.
        self._schedule = Schedule(clock())
        self._batch: list[Holding] = []
        self._exchanges: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_down = True
        # Until then Redis is as if it were away, although it can be reached; and since when it is.
        self._resume_s = self._lost_s = -1e9
        # How long the next heartbeat asks for that.
        self._wait_s = 0.0
        self._epoch: bytes | None = None
        self._workers = max(1, workers_hint)
        self._rank: int | None = None
        self._utc_offset_s = time.time() - clock()
        self._probe = asyncio.Event()
        self._resuming: asyncio.TimerHandle | None = None

    @property
    def workers(self) -> int:
        """How many workers there are in all, as far as Redis has said."""
        return self._workers

    @property
    def is_up(self) -> bool:
        return not self.is_away(self.clock())

    def is_away(self, now_s: float, holding: Holding | None = None) -> bool:
        """Whether Redis is, or the node of a cluster that has this counter."""
        if self._is_down or now_s < self._resume_s:
            return True
        return holding is not None and now_s < holding.unreachable_until_s

    async def open(self) -> None:
        """Tries once to reach Redis, and goes on trying in the background."""
        if not await self._beat():
            log.warning("redis can't be reached: each worker limits itself to 1 of %d", self._workers)
            self._wait_s = SETTLE_S
        self._tasks = [asyncio.create_task(self._keep_beating()), asyncio.create_task(self._keep_sweeping())]

    async def close(self) -> None:
        """Gives back what is held, and leaves."""
        for task in self._tasks:
            await end_task(task)
        if self._resuming is not None:
            self._resuming.cancel()
        if self._exchanges:
            await asyncio.wait(self._exchanges)
        now_s = self.clock()
        holdings = list(self._schedule)
        for holding in holdings:
            holding.give_back_all(now_s)
        if not self.is_away(now_s):
            asking = [holding for holding in holdings if holding.needs_exchange(now_s)]
            for begin in range(0, len(asking), _MAX_BATCH):
                await self._exchange(asking[begin : begin + _MAX_BATCH])
            try:
                await self._store.leave()
            except StoreDownError:
                log.warning("redis is away: what was held is not given back")

    def bucket(self, policy: LimitPolicy) -> LimitBucket:
        """Cheap; buckets of the same counter share what this worker holds of it."""
        requests = request_counter(policy)
        return LimitBucket(
            self,
            policy,
            None if requests is None else self._holding(*requests),
            tuple(
                (self._holding(counter, limits, is_money=True), policy.price_nanos)
                for counter, limits in spend_counters(policy).items()
            ),
        )

    def share(self, now_s: float) -> Share:
        is_over = not self._is_down and self._resume_s - _QUIET_S <= now_s < self._resume_s
        return Share(self._workers, self._rank, now_s + self._utc_offset_s, self._lost_s, is_over)

    def ask(self, holding: Holding) -> None:
        """Asks at the end of this turn of the event loop, together with all others; once at a time."""
        if not self.is_away(self.clock(), holding):
            self._enqueue(holding)

    def _enqueue(self, holding: Holding) -> None:
        if holding.is_asking:
            return
        holding.is_asking = True
        if not self._batch:
            asyncio.get_running_loop().call_soon(self._flush)
        self._batch.append(holding)

    def wait(self, bucket: LimitBucket, holding: Holding) -> None:
        """`bucket` is served when there is an answer for `holding`."""
        self._waiting.setdefault(holding, {})[bucket] = None
        now_s = self.clock()
        if not self.share(now_s).is_over:
            self.ask(holding)
        elif self._resuming is None:
            # Whoever comes while nobody spends isn't refused for an outage that is over.
            loop = asyncio.get_running_loop()
            self._resuming = loop.call_later(self._resume_s - now_s, self._resume)

    def _resume(self) -> None:
        self._resuming = None
        for holding in self._waiting:
            # Asked even if Redis has gone again: that is how those who wait are told.
            self._enqueue(holding)

    def touch(self, holding: Holding) -> None:
        """There is something to give back or to report, sooner or later."""
        now_s = self.clock()
        due_s = holding.due_s(now_s)
        if due_s is not None:
            self._schedule.add(holding, max(due_s, holding.unreachable_until_s))

    def _holding(self, counter: CounterId, limits: Limits, *, is_money: bool = False) -> Holding:
        holding = self._holdings.pop(counter, None)
        if holding is None:
            holding = Holding(counter, limits, is_money=is_money)
            # Those looked at longest ago go first, unless something would be lost with them.
            too_many = max(0, len(self._holdings) + 1 - self._max_holdings)
            for oldest in list(islice(self._holdings, too_many)):
                if not self._is_in_use(self._holdings[oldest]):
                    del self._holdings[oldest]
        elif holding.limits != limits:
            holding.change_limits(limits)
            # It was leased by the old ones, and may be more than the new ones allow.
            holding.give_back_all(self.clock())
            self.touch(holding)
        self._holdings[counter] = holding
        return holding

    def _is_in_use(self, holding: Holding) -> bool:
        return holding in self._schedule or holding.is_asking

    # Asking

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        self._begin_exchange(batch)

    def _begin_exchange(self, holdings: list[Holding]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._exchange(holdings))
        self._exchanges.add(task)
        task.add_done_callback(self._exchanges.discard)
        return task

    async def _exchange(self, holdings: list[Holding]) -> None:
        asked_s = self.clock()
        asks = [(holding.counter, self._ask_of(holding, asked_s)) for holding in holdings]
        replies: Iterable[Reply | None]
        try:
            replies = await self._store.exchange(asks) if asks else ()
        except StoreDownError:
            self._went_down()
            replies = (None,) * len(asks)
        now_s = self.clock()
        for holding, (_, ask), reply in zip(holdings, asks, replies, strict=True):
            holding.is_asking = False
            if reply is None:
                holding.unreachable_until_s = now_s + _UNREACHABLE_S
                self.touch(holding)
                continue
            if reply.fresh and not self.is_away(now_s) and holding.has_spent_within(50, now_s):
                self._lost_counts()
            if self.is_away(now_s):
                holding.receive_away(ask, reply)
            else:
                holding.receive(ask, reply, asked_s, now_s)
            self.touch(holding)
        for holding in holdings:
            for bucket in self._waiting.pop(holding, ()):
                bucket.serve()

    def _ask_of(self, holding: Holding, now_s: float) -> Ask:
        prices = [(bucket.price_of(holding), bucket.waiters) for bucket in self._waiting.get(holding, ())]
        need = sum(price * waiters for price, waiters in prices)
        unit = min((price for price, _ in prices), default=holding.unit)
        return holding.ask(need, unit, now_s, now_s + self._utc_offset_s)

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            while not self._is_down and (due := self._schedule.pop_due(self.clock(), _MAX_BATCH)):
                if asking := [holding for holding in due if self._should_ask(holding)]:
                    # One after the other, and not ended with this task: what is under way is waited for.
                    await asyncio.wait([self._begin_exchange(asking)])

    def _should_ask(self, holding: Holding) -> bool:
        now_s = self.clock()
        # With the answer that is under way it will be scheduled again.
        if holding.is_asking:
            return False
        holding.is_asking = now_s >= holding.unreachable_until_s and holding.needs_exchange(now_s)
        if not holding.is_asking:
            self.touch(holding)
        return holding.is_asking

    # Whether Redis is there

    def _went_down(self) -> None:
        if not self._is_down:
            log.warning("redis is away: each worker limits itself to its share, 1 of %d", self._workers)
            self._lost_s = self.clock()
            self._wait_s = max(self._wait_s, SETTLE_S)
        self._is_down = True
        self._probe.set()

    def _lost_counts(self) -> None:
        log.warning("redis has lost its counts: until they are over, each worker limits itself to its share")
        self._went_down()
        self._wait_s = FORGOTTEN_S
        for holding in self._holdings.values():
            holding.forget_counts()

    async def _keep_beating(self) -> None:
        failures = 0
        while True:
            self._probe.clear()
            if self._is_down:
                await asyncio.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
            else:
                # A call that failed is tried again at once: a connection may have died while Redis lives.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._probe.wait(), BEAT_S)
            failures = 0 if await self._beat() else failures + 1

    async def _beat(self) -> bool:
        try:
            waited_s = self._wait_s
            beat = await self._store.beat(int(waited_s * 1000))
            if self._epoch not in (None, beat.epoch):
                self._lost_counts()
                waited_s = self._wait_s
                beat = await self._store.beat(int(waited_s * 1000))
        except StoreDownError:
            self._went_down()
            return False
        now_s = self.clock()
        is_first, self._epoch = self._epoch is None, beat.epoch
        self._workers, self._rank = beat.workers, beat.rank
        self._utc_offset_s = beat.now_ms / 1000 - now_s
        # Whoever was never without Redis goes on leasing: one worker's bad line is not everybody's outage.
        if waited_s or is_first or self.is_away(now_s):
            self._resume_s = now_s + beat.resume_ms / 1000
        if self._is_down:
            log.info("redis is there: %d workers", beat.workers)
        self._is_down, self._wait_s = False, 0.0
        return True
