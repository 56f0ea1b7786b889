"""Limiters before a real Redis: round trips are shared, and its loss stops nobody."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from ams_common import ports
from ams_common.redis_client import connect, disconnect
from ams_common.testing.eventually import eventually
from ams_gateway.access.limits.limiter import Limiter
from ams_gateway.access.limits.policy import LimitPolicy, SpendCap, spend_counter
from ams_local.redis import Redis as Server
from redis.asyncio import Redis


@asynccontextmanager
async def opened(url: str, workers_hint: int = 1) -> AsyncIterator[Limiter]:
    client = connect(url, retries=0)
    limiter = Limiter(client, workers_hint=workers_hint)
    await limiter.open()
    yield limiter
    await limiter.close()
    await disconnect(client)


def policy(per_minute: int = 0, per_day: int = 0, per_month: int = 0) -> LimitPolicy:
    return LimitPolicy(
        service_id=secrets.token_hex(8),
        consumer_id="c",
        key_id="k",
        per_minute=per_minute,
        per_day=per_day,
        per_month=per_month,
    )


async def test_never_more_than_the_limit_passes_across_workers(redis_url: str) -> None:
    async with opened(redis_url) as first, opened(redis_url) as second, opened(redis_url) as third:
        wanted = policy(per_minute=37, per_day=1000)
        buckets = [limiter.bucket(wanted) for limiter in (first, second, third)]
        answers = await asyncio.gather(*(buckets[n % 3].acquire() for n in range(400)))
        assert sum(answer.allowed for answer in answers) == 37
        assert {answer.bound for answer in answers} == {None, "minute"}
        assert all(1 <= answer.retry_after_s <= 61 for answer in answers if not answer.allowed)


async def test_all_who_wait_share_a_round_trip(redis_url: str, redis: "Redis") -> None:
    async def calls() -> int:
        stats = await redis.info("commandstats")
        return int(stats.get("cmdstat_evalsha", {}).get("calls", 0))

    async with opened(redis_url) as limiter:
        await limiter.bucket(policy(per_minute=5)).acquire()
        buckets = [limiter.bucket(policy(per_minute=50)) for _ in range(20)]
        before = await calls()
        answers = await asyncio.gather(*(bucket.acquire() for bucket in buckets for _ in range(50)))
        assert all(answer.allowed for answer in answers)
        # One for each counter; a sweep or a heartbeat may come between.
        assert await calls() - before < 50


async def test_a_redis_that_forgot_the_scripts_gets_them_again(redis_url: str, redis: "Redis") -> None:
    async with opened(redis_url) as limiter:
        bucket = limiter.bucket(policy(per_minute=2))
        await redis.script_flush()
        assert [(await bucket.acquire()).allowed for _ in range(3)] == [True, True, False]
        assert limiter.is_up


async def test_closing_gives_back_what_was_held(redis_url: str, redis: "Redis") -> None:
    wanted = policy(per_minute=100_000, per_month=100_000)
    passed = 0
    async with opened(redis_url) as limiter:
        bucket = limiter.bucket(wanted)
        for _ in range(200):
            passed += (bucket.take() or await bucket.acquire()).allowed
            await asyncio.sleep(0)
    name = f"ams:limit:{{{wanted.service_id}:c}}:live"
    assert passed == 200
    assert await redis.hget(f"{name}:calendar", "month_used") == b"200"
    assert await redis.hget(f"{name}:minute", "used") == b"200"
    assert await redis.pttl(f"{name}:minute") <= 68_000
    assert 0 < await redis.pttl(f"{name}:calendar") <= 32 * 86_400_000


async def test_a_waiter_that_is_gone_takes_nothing(redis_url: str) -> None:
    async with opened(redis_url) as limiter:
        bucket = limiter.bucket(policy(per_minute=1))
        gone = asyncio.ensure_future(bucket.acquire())
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone

        async def allowed() -> bool:
            return (await bucket.acquire()).allowed

        assert await eventually(allowed, 5)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path, ports.free_port(), throwaway=True)
    await asyncio.to_thread(server.launch)
    await asyncio.to_thread(server.wait)
    yield server
    await asyncio.to_thread(server.stop)


async def know_each_other(*limiters: Limiter) -> None:
    """A heartbeat or two later."""

    async def all_know() -> bool:
        return all(limiter.workers == len(limiters) for limiter in limiters)

    await eventually(all_know)


async def test_what_is_charged_after_calls_counts_for_every_worker_and_beyond_the_cap(
    redis_url: str, redis: "Redis"
) -> None:
    key_id = secrets.token_hex(8)
    wanted = LimitPolicy(
        service_id=secrets.token_hex(8),
        consumer_id="c",
        key_id=key_id,
        price_nanos=10,
        currency="EUR",
        caps=(SpendCap("key", key_id, 1000, "EUR"),),
    )
    month_key = spend_counter("key", key_id, "EUR").keys[1]
    async with opened(redis_url) as first, opened(redis_url) as second:
        buckets = [limiter.bucket(wanted) for limiter in (first, second)]
        for bucket in buckets:
            assert (await bucket.acquire()).allowed
            bucket.charge(700)

        async def is_known() -> bool:
            return b"1420" in (await redis.hgetall(month_key)).values()

        await eventually(is_known)
        assert [(await bucket.acquire()).bound for bucket in buckets] == ["spend", "spend"]


async def test_losing_redis_stops_nobody_and_its_memory_is_not_missed(server: Server) -> None:
    async with opened(server.url) as first, opened(server.url) as second:
        wanted = policy(per_minute=40, per_day=100)
        buckets = [limiter.bucket(wanted) for limiter in (first, second)]
        passed = 0
        await know_each_other(first, second)
        for number in range(20):
            passed += (await buckets[number % 2].acquire()).allowed
        assert passed == 20
        await asyncio.to_thread(server.stop)
        longest_s = 0.0
        for number in range(200):
            asked_s = time.monotonic()
            passed += (await buckets[number % 2].acquire()).allowed
            longest_s = max(longest_s, time.monotonic() - asked_s)
        assert 20 <= passed <= 40
        assert longest_s < 2
        assert not first.is_up and not second.is_up
        # It comes back empty: what was lost with it counts all the same, for as long as it has to.
        await asyncio.to_thread(server.launch)
        await asyncio.to_thread(server.wait)
        await asyncio.sleep(2)
        for number in range(200):
            passed += (await buckets[number % 2].acquire()).allowed
        assert passed <= 40
