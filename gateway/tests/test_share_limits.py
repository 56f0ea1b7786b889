"""Several workers under load, minutes of it in virtual time: never more than the limit, nearly all of it."""

import asyncio

import pytest
from ams_gateway.access.limits.limiter import Limiter
from ams_gateway.access.limits.policy import LimitPolicy, SpendCap
from ams_gateway.testing.limit_simulation import (
    SimulatedRedis,
    call,
    most_in_a_minute,
    open_limiter,
    simulate,
)
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

POLICY = LimitPolicy(service_id="s", consumer_id="c", key_id="k", per_minute=60)


async def load(
    limiters: list[Limiter], redis: SimulatedRedis, policy: LimitPolicy, per_minute: float, seconds: float
) -> list[list[float]]:
    """When calls passed, by worker: as many are offered, at random times, each to a random worker."""
    loop = asyncio.get_running_loop()
    buckets = [limiter.bucket(policy) for limiter in limiters]
    passed: list[list[float]] = [[] for _ in limiters]

    async def one(worker: int) -> None:
        if (await call(buckets[worker])).allowed:
            passed[worker].append(loop.time())

    calls = []
    end_s = loop.time() + seconds
    while loop.time() < end_s:
        calls.append(asyncio.ensure_future(one(redis.random.randrange(len(limiters)))))
        await asyncio.sleep(redis.random.expovariate(per_minute / 60))
    await asyncio.gather(*calls)
    return passed


@pytest.mark.parametrize("limit", [1, 2, 10, 60, 1000, 4000])
def test_ten_times_the_limit_offered_lets_nearly_all_of_it_pass_and_never_more(limit: int) -> None:
    minutes = 10 if limit <= 60 else 3

    async def story() -> None:
        redis = SimulatedRedis(limit)
        limiters = [await open_limiter(redis, 2) for _ in range(4)]
        policy = LimitPolicy(service_id="s", consumer_id="c", key_id="k", per_minute=limit)
        passed = await load(limiters, redis, policy, max(limit * 10, 1800), 60 * minutes)
        times_s = sorted(time_s for worker in passed for time_s in worker)
        assert most_in_a_minute(times_s) <= limit
        # The first minute's are had within its beginning; so only whole turns are counted.
        elapsed_s = times_s[-1] - times_s[0]
        assert len(times_s) >= 0.98 * limit * int(elapsed_s / 60 + 0.02)
        assert len(times_s) >= 0.98 * limit * (minutes - 1)
        if limit >= 60:
            for worker in passed:
                assert len(worker) > len(times_s) / 4 * 0.5
        for limiter in limiters:
            await limiter.close()

    simulate(story)


def test_a_window_that_slides_has_no_edge() -> None:
    """One call at 0 s, 59 at 59.0 s, 60 at 60.2 s: one that begins anew would let 119 pass at its edge."""

    async def story() -> None:
        redis = SimulatedRedis(1)
        limiter = await open_limiter(redis, 1)
        bucket, loop = limiter.bucket(POLICY), asyncio.get_running_loop()
        begin_s, times_s = loop.time(), []
        for at_s, calls in ((0.0, 1), (59.0, 59), (60.2, 60), (60.6, 60), (118.9, 60), (119.6, 60)):
            await asyncio.sleep(begin_s + at_s - loop.time())
            for _ in range(calls):
                if (await call(bucket)).allowed:
                    times_s.append(loop.time() - begin_s)
        assert most_in_a_minute(times_s) <= 60
        # A place is free half a second after its minute, at the latest.
        assert [sum(time_s < until_s for time_s in times_s) for until_s in (58, 60, 61, 119, 120)] == [
            *(1, 60, 61, 61, 120),
        ]
        await limiter.close()

    simulate(story)


def test_steady_traffic_does_not_wait_and_hardly_asks() -> None:
    async def story() -> None:
        redis = SimulatedRedis(1)
        limiter = await open_limiter(redis, 1)
        bucket = limiter.bucket(LimitPolicy(service_id="s", consumer_id="c", key_id="k", per_minute=60_000))
        waited = 0
        for number in range(5000):
            if bucket.take() is None:
                waited += 1 if number > 200 else 0
                assert (await bucket.acquire()).allowed
            await asyncio.sleep(0.002)
        assert waited == 0
        assert redis.calls < 150
        await limiter.close()

    simulate(story)


def test_what_an_idle_worker_held_is_had_by_another() -> None:
    async def story() -> None:
        redis = SimulatedRedis(1)
        first, second = [await open_limiter(redis, 2) for _ in range(2)]
        policy = LimitPolicy(service_id="s", consumer_id="c", key_id="k", per_minute=400, per_day=400)
        bucket = first.bucket(policy)
        allowed = 0
        for _ in range(100):
            allowed += (await call(bucket)).allowed
            await asyncio.sleep(0.003)
        assert allowed == 100
        await asyncio.sleep(0.5)
        bucket = second.bucket(policy)
        for _ in range(400):
            allowed += (await call(bucket)).allowed
        assert allowed == 400

    simulate(story)


@settings(max_examples=25, derandomize=True, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.integers(1, 200),
    st.floats(0.3, 12),
    st.integers(1, 5),
    st.floats(5, 100),
    st.floats(1, 100),
    st.booleans(),
    st.integers(0, 10_000),
)
def test_a_redis_that_goes_and_comes_back_never_lets_more_than_the_limit_pass(
    limit: int, times: float, workers: int, until_s: float, outage_s: float, loses: bool, seed: int
) -> None:
    """Also when it has lost what it held. What others leased between a worker's last exchange and the loss
    is guessed: a few calls may be too many."""

    async def story() -> None:
        redis = SimulatedRedis(seed)
        limiters = [await open_limiter(redis, workers) for _ in range(workers)]
        await asyncio.sleep(1.5)
        policy = LimitPolicy(service_id="s", consumer_id="c", key_id="k", per_minute=limit)
        # Workers that hadn't heard of a consumer when Redis went take no account of what it had spent: here
        # each has.
        for limiter in limiters:
            await call(limiter.bucket(policy))
        loading = asyncio.ensure_future(load(limiters, redis, policy, limit * times, until_s + outage_s + 80))
        await asyncio.sleep(until_s)
        redis.is_down = True
        await asyncio.sleep(outage_s)
        if loses:
            redis.lose_memory()
        redis.is_down = False
        passed = await loading
        unseen = 2 * (workers - 1) + int(limit * times / 60 * 0.25)
        assert most_in_a_minute([time_s for worker in passed for time_s in worker]) <= limit + unseen

    simulate(story)


@pytest.mark.parametrize("loses", [False, True])
@pytest.mark.parametrize("outage_s", [2, 20, 70])
def test_at_ten_times_the_limit_an_outage_lets_no_call_more_pass(outage_s: float, loses: bool) -> None:
    async def story() -> None:
        redis = SimulatedRedis(5)
        limiters = [await open_limiter(redis, 2) for _ in range(4)]
        await asyncio.sleep(1.5)
        policy = LimitPolicy(service_id="s", consumer_id="c", key_id="k", per_minute=120, per_day=100_000)
        loading = asyncio.ensure_future(load(limiters, redis, policy, 1200, 60 + outage_s + 200))
        await asyncio.sleep(60)
        redis.is_down = True
        await asyncio.sleep(outage_s)
        if loses:
            redis.lose_memory()
        redis.is_down = False
        times_s = [time_s for worker in await loading for time_s in worker]
        assert most_in_a_minute(times_s) <= 120
        # Once it is back for all, the whole limit passes again.
        assert sum(time_s > max(times_s) - 60.5 for time_s in times_s) >= 118
        await asyncio.sleep(0.5)
        (counters,) = redis.counters.values()
        assert counters.day_used == len(times_s)

    simulate(story)


def test_while_redis_is_away_shares_sum_to_the_limit_and_nobody_waits() -> None:
    async def story() -> None:
        redis = SimulatedRedis(1)
        limiters = [await open_limiter(redis, 7) for _ in range(3)]
        await asyncio.sleep(1.5)
        redis.is_down = True
        await asyncio.sleep(1.5)
        shares = []
        for limiter in limiters:
            bucket = limiter.bucket(POLICY)
            answers = [bucket.take() for _ in range(100)]
            assert None not in answers
            shares.append(sum(answer is not None and answer.allowed for answer in answers))
        assert shares == [20, 20, 20]
        # Whatever the limit, the remainder of the division is somebody's.
        policy = LimitPolicy(service_id="s", consumer_id="d", key_id="k", per_minute=5)
        answers = [limiter.bucket(policy).take() for limiter in limiters for _ in range(5)]
        assert sum(answer is not None and answer.allowed for answer in answers) == 5

    simulate(story)


def test_far_below_the_limit_an_outage_and_its_end_refuse_nobody() -> None:
    """Not in the moment either in which nobody spends, before leases begin again: calls wait for its end."""

    async def story() -> None:
        redis = SimulatedRedis(1)
        limiters = [await open_limiter(redis, 2) for _ in range(2)]
        policy = LimitPolicy(service_id="s", consumer_id="c", key_id="k", per_minute=60_000)
        buckets = [limiter.bucket(policy) for limiter in limiters]
        calls = []
        for step in range(800):
            redis.is_down = 200 <= step < 300
            calls += [asyncio.ensure_future(call(bucket)) for bucket in buckets]
            await asyncio.sleep(0.01)
        assert all([(await each).allowed for each in calls])

    simulate(story)


def test_a_worker_that_never_met_redis_has_its_part_of_its_gateway() -> None:
    async def story() -> None:
        redis = SimulatedRedis(1)
        redis.is_down = True
        limiter = await open_limiter(redis, 4)
        bucket = limiter.bucket(POLICY)
        answers = [await bucket.acquire() for _ in range(60)]
        assert sum(answer.allowed for answer in answers) == 15
        refused = answers[-1]
        assert refused.bound == "minute"
        assert 59 <= refused.retry_after_s <= 62

    simulate(story)


def test_what_was_spent_while_redis_was_away_is_counted_when_it_is_back() -> None:
    async def story() -> None:
        redis = SimulatedRedis(1)
        limiter = await open_limiter(redis, 1)
        redis.is_down = True
        policy = LimitPolicy(service_id="s", consumer_id="c", key_id="k", per_day=100, per_month=1000)
        bucket = limiter.bucket(policy)
        # Is found out by asking.
        for _ in range(30):
            assert (await call(bucket)).allowed
        redis.is_down = False
        await asyncio.sleep(3)
        (counters,) = redis.counters.values()
        assert (counters.day_used, counters.month_used) == (30, 30)

    simulate(story)


def test_spend_caps_let_nothing_pass_beyond_them() -> None:
    """Whoever of the workers is called, with services of several prices."""

    async def story() -> None:
        redis = SimulatedRedis(3)
        limiters = [await open_limiter(redis, 2) for _ in range(3)]
        cap = SpendCap("consumer", "c", 10_007, "EUR")
        prices = [3, 50, 7]
        buckets = [
            limiter.bucket(
                LimitPolicy(
                    service_id=f"s{price}",
                    consumer_id="c",
                    key_id="k",
                    price_nanos=price,
                    currency="EUR",
                    caps=(cap,),
                    shows_costs=True,
                )
            )
            for limiter in limiters
            for price in prices
        ]
        spent, refusals = 0, 0

        async def one(index: int) -> None:
            nonlocal spent, refusals
            allowance = await call(buckets[index])
            spent += prices[index % 3] if allowance.allowed else 0
            refusals += not allowance.allowed
            assert allowance.allowed or allowance.bound == "spend"

        for _ in range(400):
            await asyncio.gather(*(one(redis.random.randrange(9)) for _ in range(redis.random.randrange(6))))
            await asyncio.sleep(0.02)
        assert spent <= 10_007
        # Leases have ended and been given back: the rest is less than the least price.
        await asyncio.sleep(1.5)
        for index in range(9):
            await asyncio.gather(*(one(index) for _ in range(20)))
        assert 10_007 - 3 < spent <= 10_007
        assert refusals
        await call(buckets[0])
        await asyncio.sleep(1.5)
        await call(buckets[0])
        assert buckets[0].month_to_date_nanos() == spent

    simulate(story)


def test_a_call_that_was_not_forwarded_counts_no_more() -> None:
    async def story() -> None:
        redis = SimulatedRedis(1)
        limiter = await open_limiter(redis, 1)
        policy = LimitPolicy(
            service_id="s",
            consumer_id="c",
            key_id="k",
            per_minute=2,
            per_day=2,
            price_nanos=10,
            currency="EUR",
            caps=(SpendCap("key", "k", 20, "EUR"),),
        )
        bucket = limiter.bucket(policy)
        for _ in range(5):
            assert (await call(bucket)).allowed
            bucket.refund()
            await asyncio.sleep(0.2)
        assert (await call(bucket)).allowed
        assert (await call(bucket)).allowed
        assert not (await call(bucket)).allowed
        # A call that isn't charged has counted all the same.
        bucket.waive()
        await asyncio.sleep(0.4)
        assert bucket.month_to_date_nanos() == 10
        assert (await call(bucket)).bound == "minute"

    simulate(story)


def test_test_keys_have_counters_of_their_own_and_no_caps() -> None:
    async def story() -> None:
        redis = SimulatedRedis(1)
        limiter = await open_limiter(redis, 1)
        kinds = {
            is_test: limiter.bucket(
                LimitPolicy(
                    service_id="s",
                    consumer_id="c",
                    key_id="k",
                    is_test=is_test,
                    per_minute=5,
                    price_nanos=10,
                    currency="EUR",
                    caps=(SpendCap("key", "k", 20, "EUR"),),
                )
            )
            for is_test in (False, True)
        }
        allowed = {kind: sum([(await call(kinds[kind])).allowed for _ in range(9)]) for kind in kinds}
        assert allowed == {False: 2, True: 5}

    simulate(story)


def test_what_is_unused_is_evicted_and_what_is_held_stays() -> None:
    async def story() -> None:
        redis = SimulatedRedis(1)
        limiter = await open_limiter(redis, 1)
        limiter._max_holdings = 10
        held = limiter.bucket(POLICY)
        await call(held)
        for number in range(100):
            limiter.bucket(LimitPolicy(service_id=f"s{number}", consumer_id="c", key_id="k", per_minute=5))
        assert len(limiter._holdings) <= 11
        assert held._requests in limiter._holdings.values()

    simulate(story)
