"""Rate limits in Redis, and without it."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator

import pytest
from ams_common.testing.eventually import eventually
from ams_gateway.access.rate_limits import LOAD_SCRIPT, Limiter
from ams_gateway.access.redis_pipe import RedisDownError, RedisPipe, pack
from redis.asyncio import Redis


@pytest.fixture
async def pipe(redis_url: str) -> AsyncIterator[RedisPipe]:
    pipe = RedisPipe(redis_url, preamble=(LOAD_SCRIPT,))
    await pipe.open()
    yield pipe
    await pipe.close()


@pytest.fixture
def service_id() -> str:
    return secrets.token_hex(8)


async def test_never_more_than_the_limit_passes_across_workers(redis_url: str, service_id: str) -> None:
    pipes = [RedisPipe(redis_url, preamble=(LOAD_SCRIPT,)) for _ in range(4)]
    for pipe in pipes:
        await pipe.open()
    limiters = [Limiter(pipe) for pipe in pipes]
    answers = await asyncio.gather(*(limiters[n % 4].take(service_id, "c", 37) for n in range(400)))
    assert sum(answer.allowed for answer in answers) == 37
    assert sorted(answer.remaining for answer in answers if answer.allowed) == list(range(37))
    for pipe in pipes:
        await pipe.close()


async def test_consumers_and_services_are_counted_apart(pipe: RedisPipe, service_id: str) -> None:
    limiter = Limiter(pipe)
    assert (await limiter.take(service_id, "a", 1)).allowed
    assert (await limiter.take(service_id, "b", 1)).allowed
    assert (await limiter.take(service_id + "x", "a", 1)).allowed
    assert not (await limiter.take(service_id, "a", 1)).allowed


async def test_a_refused_request_neither_counts_nor_extends_the_window(
    pipe: RedisPipe, redis: "Redis", service_id: str
) -> None:
    limiter = Limiter(pipe)
    await limiter.take(service_id, "c", 1)
    (key,) = await redis.keys(f"*{service_id}*")
    left_ms = await redis.pttl(key)
    for _ in range(20):
        assert not (await limiter.take(service_id, "c", 1)).allowed
    assert await redis.get(key) == b"1"
    assert await redis.pttl(key) <= left_ms


async def test_the_next_window_starts_at_nothing(pipe: RedisPipe, redis: "Redis", service_id: str) -> None:
    limiter = Limiter(pipe)
    await limiter.take(service_id, "c", 1)
    (key,) = await redis.keys(f"*{service_id}*")
    await redis.pexpire(key, 1)

    async def allowed() -> bool:
        return (await limiter.take(service_id, "c", 1)).allowed

    assert await eventually(allowed)


async def test_a_counter_that_lost_its_end_gets_one(pipe: RedisPipe, redis: "Redis", service_id: str) -> None:
    limiter = Limiter(pipe)
    await limiter.take(service_id, "c", 2)
    (key,) = await redis.keys(f"*{service_id}*")
    await redis.persist(key)
    await limiter.take(service_id, "c", 2)
    assert 0 < await redis.pttl(key) <= 60_000


async def test_a_redis_that_forgot_the_script_gets_it_again(
    pipe: RedisPipe, redis: "Redis", service_id: str
) -> None:
    limiter = Limiter(pipe)
    await redis.script_flush()
    answers = [await limiter.take(service_id, "c", 2) for _ in range(3)]
    assert [answer.allowed for answer in answers] == [True, True, False]
    assert await redis.get((await redis.keys(f"*{service_id}*"))[0]) == b"2"


async def test_without_redis_a_worker_counts_by_itself(service_id: str) -> None:
    pipe = RedisPipe("redis://127.0.0.1:1/0")
    await pipe.open()
    limiter = Limiter(pipe)
    answers = [await limiter.take(service_id, "c", 3) for _ in range(5)]
    assert [answer.allowed for answer in answers] == [True, True, True, False, False]
    assert (await limiter.take(service_id, "other", 3)).allowed
    await pipe.close()


async def test_commands_of_one_turn_are_answered_in_their_order(pipe: RedisPipe, service_id: str) -> None:
    pipe.execute(pack("SET", service_id, "0", "EX", "60"))
    answers = await asyncio.gather(*(pipe.execute(pack("INCR", service_id)) for _ in range(500)))
    assert answers == list(range(1, 501))


async def test_a_lost_connection_fails_at_once_and_comes_back(pipe: RedisPipe, redis: "Redis") -> None:
    ours = await pipe.execute(pack("CLIENT", "ID"))
    waiting = pipe.execute(pack("BLPOP", "ams:no-such-list", "30"))
    await redis.client_kill_filter(_id=ours)
    with pytest.raises(RedisDownError):
        await waiting

    async def back() -> bool:
        return pipe.is_up

    assert await eventually(back)
    assert await pipe.execute(pack("PING")) == b"PONG"


async def test_a_redis_that_says_nothing_counts_as_down() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        pipe = RedisPipe(f"redis://127.0.0.1:{silent.getsockname()[1]}/1", timeout_s=0.1)
        await pipe.open()
        with pytest.raises(RedisDownError):
            await pipe.execute(pack("PING"))
        await pipe.close()
