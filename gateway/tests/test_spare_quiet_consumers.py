"""Who calls seldom and is far below its limit doesn't wait for Redis, and no limit is less exact for that."""

import asyncio
import itertools

import pytest
from ams_gateway.access.limits.holding import Holding
from ams_gateway.access.limits.policy import CounterId, LimitPolicy, SpendCap
from ams_gateway.access.limits.schedule import Schedule
from ams_gateway.access.limits.window import (
    LONG_LEASE_MS,
    WINDOW_MS,
    Ask,
    Counters,
    Limits,
    Reply,
    lease,
)
from ams_gateway.testing.limit_simulation import (
    SimulatedRedis,
    call,
    most_in_a_minute,
    open_limiter,
    simulate,
)
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

START_MS = 1_795_000_000_000
COUNTER = CounterId("ams:limit:{s:c}:live")


class Redis:
    """Answers at once, and counts how often it is asked."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.calls = 0

    def exchange(self, holding: Holding, need: int, now_s: float, delay_s: float = 0.001) -> Reply:
        self.calls += 1
        ask = holding.ask(need, 1, now_s, START_MS / 1000 + now_s)
        reply, self.counters = lease(self.counters, ask, START_MS + int((now_s + delay_s / 2) * 1000))
        holding.receive(ask, reply, now_s, now_s + delay_s)
        return reply


class Worker:
    """One that sweeps as the limiter does, by what its holding says, and calls."""

    def __init__(self, redis: Redis, limits: Limits) -> None:
        self.redis = redis
        self.holding = Holding(COUNTER, limits)
        self.waited = 0

    def sweep_until(self, until_s: float, now_s: float) -> None:
        while (due_s := self.holding.due_s(now_s)) is not None and due_s < until_s:
            now_s = max(now_s, due_s)
            if self.holding.needs_exchange(now_s):
                self.redis.exchange(self.holding, 0, now_s)
                now_s += 0.001

    def call(self, now_s: float, delay_s: float = 0.001) -> bool:
        """Whether it passed; what it needed is had at the time that the answer comes."""
        if not self.holding.has(1, now_s):
            if self.holding.denial(1, now_s) is not None:
                return False
            self.waited += 1
            self.redis.exchange(self.holding, 1, now_s, delay_s)
            now_s += delay_s
        passed = self.holding.take(1, now_s)
        if self.holding.should_renew:
            self.redis.exchange(self.holding, 0, now_s)
        return passed


@pytest.mark.parametrize("every_s", [0.3, 1.0, 2.0, 3.7, 4.9])
def test_only_the_first_two_calls_of_a_quiet_consumer_wait(every_s: float) -> None:
    """By the second it is known that there may be a third within a lease's time. Redis is asked about once in
    that time, however often the consumer calls."""
    redis = Redis()
    worker = Worker(redis, Limits(10_000, 1_000_000, 10_000_000))
    calls, begin_s = int(300 / every_s), 1000.0
    for number in range(calls):
        now_s = begin_s + number * every_s
        assert worker.call(now_s)
        worker.sweep_until(now_s + every_s, now_s + 0.002)
    assert worker.waited == 2
    assert redis.calls <= 300 / (LONG_LEASE_MS / 1000) * 1.6


def test_who_calls_once_a_minute_costs_one_round_trip_a_call() -> None:
    """A lease for it would be renewed, given back and never spent: four instead of one."""
    redis = Redis()
    worker = Worker(redis, Limits(10_000))
    for minute in range(20):
        assert worker.call(1000.0 + minute * 60)
        worker.sweep_until(1000.0 + minute * 60 + 60, 1000.002 + minute * 60)
    assert redis.calls == worker.waited == 20


def test_what_is_held_long_and_not_spent_is_given_back_at_its_end() -> None:
    redis = Redis()
    worker = Worker(redis, Limits(10_000, 10_000))
    for second in range(10):
        assert worker.call(1000.0 + second)
        worker.sweep_until(1001.0 + second, 1000.002 + second)
    assert redis.counters.day_used > 10
    worker.sweep_until(1010.0 + 2 * LONG_LEASE_MS / 1000, 1010.0)
    assert redis.counters.day_used == 10
    assert worker.holding.due_s(1010.0 + 2 * LONG_LEASE_MS / 1000) is None


@given(
    st.integers(1, 5_000),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 300), st.integers(0, 9_000)), max_size=60),
)
def test_a_sixteenth_of_a_limit_at_most_is_counted_for_longer(
    limit: int, asks: list[tuple[int, int, int]]
) -> None:
    """However many workers ask, and whatever they ask for."""
    counters, now_ms, long = Counters(), START_MS, dict[int, int]()
    for need, long_extra, pause_ms in asks:
        now_ms += pause_ms
        ask = Ask(Limits(limit, limit * 20), need, long_extra=long_extra)
        reply, counters = lease(counters, ask, now_ms)
        if reply.lease_ms == LONG_LEASE_MS:
            assert 0 < reply.granted - need <= limit // 64
            long[now_ms] = long.get(now_ms, 0) + reply.granted
        counted = sum(units for at_ms, units in long.items() if now_ms < at_ms + LONG_LEASE_MS + WINDOW_MS)
        assert counted * 16 <= limit


STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),  # which worker
        st.one_of(st.floats(0, 0.1), st.floats(0, 3), st.floats(0, 30)),  # time before
        st.integers(1, 40),  # calls at once
        st.floats(0.0005, 0.2),  # a round trip's
    ),
    max_size=80,
)


@settings(max_examples=150, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.integers(64, 400), STEPS)
def test_two_workers_of_a_consumer_never_let_more_than_its_limit_pass_in_any_minute(
    limit: int, steps: list[tuple[int, float, int, float]]
) -> None:
    """Whether it is quiet or not, and however that changes."""
    redis, now_s = Redis(), 1000.0
    workers = [Worker(redis, Limits(limit)) for _ in range(2)]
    passed: list[float] = []
    for index, pause_s, calls, delay_s in steps:
        for worker in workers:
            worker.sweep_until(now_s + pause_s, now_s)
        now_s += pause_s
        for _ in range(calls):
            waited = workers[index].waited
            if workers[index].call(now_s, delay_s):
                now_s += delay_s * (workers[index].waited - waited)
                passed.append(now_s)
    assert most_in_a_minute(passed) <= limit


def test_a_quiet_consumer_that_begins_to_hurry_has_nearly_its_whole_limit_and_no_more() -> None:
    """What other workers hold for it is given back within the first of these minutes."""

    async def story() -> None:
        redis = SimulatedRedis(7)
        limiters = [await open_limiter(redis, 2) for _ in range(4)]
        policy = LimitPolicy(service_id="s", consumer_id="c", key_id="k", per_minute=1280)
        buckets = [limiter.bucket(policy) for limiter in limiters]
        loop, times_s = asyncio.get_running_loop(), list[float]()

        async def load(bucket_numbers: list[int], every_s: float, seconds: float) -> None:
            turns, until_s = itertools.cycle(bucket_numbers), loop.time() + seconds
            while loop.time() < until_s:
                if (await call(buckets[next(turns)])).allowed:
                    times_s.append(loop.time())
                await asyncio.sleep(every_s)

        await load([0, 1, 2, 3], 0.9, 60)
        hurried_s = loop.time()
        # Through one of them alone.
        await load([0], 0.01, 180)
        assert most_in_a_minute(times_s) <= 1280
        for minute in range(3):
            begin_s = hurried_s + minute * 60
            assert sum(begin_s <= time_s < begin_s + 60 for time_s in times_s) >= 1280 * 0.98
        for limiter in limiters:
            await limiter.close()

    simulate(story)


def test_what_is_held_when_redis_is_lost_counts_for_as_long_as_it_may_be_spent() -> None:
    """It is spent just before its end, and a minute later the whole limit is asked for."""

    async def story() -> None:
        redis = SimulatedRedis(1)
        limiter = await open_limiter(redis, 1)
        policy = LimitPolicy(service_id="s", consumer_id="c", key_id="k", per_minute=1280)
        bucket, loop, times_s = limiter.bucket(policy), asyncio.get_running_loop(), list[float]()

        async def load(calls: int) -> None:
            for _ in range(calls):
                if (await call(bucket)).allowed:
                    times_s.append(loop.time())
                await asyncio.sleep(0.0001)

        holding = bucket._requests
        assert holding is not None
        while holding.holds(loop.time()) < 15:
            await load(1)
            await asyncio.sleep(0.2)
        redis.is_down = True
        await asyncio.sleep(4)
        await load(holding.holds(loop.time()))
        spent_s = loop.time()
        for half_second in range(112, 132):
            await asyncio.sleep(spent_s + half_second / 2 - loop.time())
            await load(800)
        assert len(times_s) > 1280
        assert sum(time_s > spent_s - 1 for time_s in times_s) >= 1280
        assert most_in_a_minute(times_s) <= 1280
        await limiter.close()

    simulate(story)


def test_a_limit_that_is_lowered_holds_at_once() -> None:
    async def story() -> None:
        redis = SimulatedRedis(1)
        limiter = await open_limiter(redis, 1)

        def policy(amount_nanos: int) -> LimitPolicy:
            caps = (SpendCap("key", "k", amount_nanos, "EUR"),)
            return LimitPolicy(
                service_id="s", consumer_id="c", key_id="k", price_nanos=10, currency="EUR", caps=caps
            )

        bucket = limiter.bucket(policy(1_000_000))
        for _ in range(20):
            assert (await call(bucket)).allowed
            await asyncio.sleep(0.2)
        assert bucket.take() is not None
        bucket = limiter.bucket(policy(210))
        assert not (await call(bucket)).allowed
        await limiter.close()

    simulate(story)


def test_while_counts_are_far_below_a_cap_no_call_waits_and_it_is_not_passed() -> None:
    async def story() -> None:
        redis = SimulatedRedis(1)
        limiters = [await open_limiter(redis, 2) for _ in range(2)]
        caps = (SpendCap("key", "k", 20_000, "EUR"),)
        policy = LimitPolicy(
            service_id="s", consumer_id="c", key_id="k", price_nanos=10, currency="EUR", caps=caps
        )
        buckets = [limiter.bucket(policy) for limiter in limiters]
        waited = passed = 0
        for number in range(3000):
            bucket = buckets[number % 2]
            allowance = bucket.take()
            if allowance is None:
                waited += number < 60
                allowance = await bucket.acquire()
            passed += allowance.allowed
            await asyncio.sleep(1)
        assert waited <= 4
        assert passed == 2000
        for limiter in limiters:
            await limiter.close()

    simulate(story)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 9)), max_size=40), st.integers(1, 4))
def test_whatever_is_scheduled_comes_once_and_at_its_earliest_time(
    added: list[tuple[int, float]], most: int
) -> None:
    schedule = Schedule(1000.0)
    holdings = [Holding(COUNTER, Limits(1)) for _ in range(6)]
    earliest: dict[int, float] = {}
    for index, after_s in added:
        schedule.add(holdings[index], 1000.0 + after_s)
        earliest[index] = min(after_s, earliest.get(index, after_s))
    came: dict[int, float] = {}
    for tenth in range(1, 120):
        while due := schedule.pop_due(1000.0 + tenth / 10, most):
            assert len(due) <= most
            for holding in due:
                assert holdings.index(holding) not in came
                came[holdings.index(holding)] = tenth / 10
    assert came.keys() == earliest.keys()
    for index, after_s in came.items():
        assert earliest[index] <= after_s <= earliest[index] + 0.2
    assert not list(schedule)
