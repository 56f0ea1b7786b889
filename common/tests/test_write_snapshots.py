"""Snapshots on their way to Redis: an older one never takes the place of a newer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from ams.catalog.v1.events_pb2 import CatalogEvent, ServiceSnapshot
from ams_common import outbox, topics
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.outbox import KafkaDestination, OutboxRelay, RedisDestination, is_delivered, write_again
from ams_common.server import cancel
from ams_common.snapshots import INVALIDATION_CHANNEL, service_snapshot_key, snapshot_version_key
from ams_common.testing.eventually import eventually
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

Relaying = Callable[..., AbstractAsyncContextManager[None]]


@pytest.fixture
def relaying(database_url: str) -> Relaying:
    @asynccontextmanager
    async def run(*destinations: Any) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(OutboxRelay(database_url, each).run()) for each in destinations]
        try:
            yield
        finally:
            await cancel(tasks)
            await asyncio.gather(*tasks, return_exceptions=True)

    return run


@pytest.fixture
def redis_key() -> str:
    return service_snapshot_key(uuid7())


async def write(database: Database, redis_key: str, version: int) -> None:
    async with database.change_by_system("test", audited=False) as change:
        change.snapshot(redis_key, ServiceSnapshot(version=version))


async def version_in(redis: Redis, redis_key: str) -> int | None:
    payload = await redis.get(redis_key)
    return ServiceSnapshot.FromString(payload).version if isinstance(payload, bytes) else None


async def waiting(database: Database) -> int:
    async with database.connection() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM outbox"))


def row(redis_key: str, version: int) -> dict[str, Any]:
    payload = ServiceSnapshot(version=version).SerializeToString()
    return {"topic": redis_key, "payload": payload, "snapshot_version": version}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(versions=st.lists(st.integers(0, 2**53), min_size=1, max_size=8))
def test_in_whatever_order_snapshots_are_delivered_the_highest_version_stays(
    redis_url: str, versions: list[int]
) -> None:
    async def deliver_all() -> int | None:
        redis_key = service_snapshot_key(uuid7())
        async with Redis.from_url(redis_url) as redis:
            destination = RedisDestination(redis)
            for version in versions:
                await destination.deliver([row(redis_key, version)])
            return await version_in(redis, redis_key)

    assert asyncio.run(deliver_all()) == max(versions)


async def test_one_that_is_outdated_is_not_announced_and_does_not_hold_up_the_next(
    database: Database, relaying: Relaying, redis: Redis, redis_key: str
) -> None:
    other = service_snapshot_key(uuid7())
    await RedisDestination(redis).deliver([row(redis_key, 2)])
    async with redis.pubsub() as news:
        await news.subscribe(INVALIDATION_CHANNEL)
        await write(database, redis_key, 1)
        await write(database, other, 1)
        heard: set[bytes] = set()

        async def hears_of_the_next() -> bool:
            message = await news.get_message(ignore_subscribe_messages=True, timeout=0.1)
            heard.update([message["data"]] if message else [])
            return other.encode() in heard

        async with relaying(RedisDestination(redis)):
            await eventually(hears_of_the_next)
    assert redis_key.encode() not in heard
    assert await version_in(redis, redis_key) == 2


async def test_the_same_version_is_written_once_more_where_the_snapshot_was_lost(
    redis: Redis, redis_key: str
) -> None:
    destination = RedisDestination(redis)
    await destination.deliver([row(redis_key, 2)])
    await redis.delete(redis_key)
    await destination.deliver([row(redis_key, 2)])
    assert await version_in(redis, redis_key) == 2


def test_a_snapshot_and_its_version_share_a_slot_of_a_cluster(redis_key: str) -> None:
    assert snapshot_version_key(redis_key).startswith(f"{{{redis_key}}}")
    assert "{" not in redis_key


async def test_a_full_redis_loses_what_is_out_of_date_and_events_go_on(
    database: Database,
    relaying: Relaying,
    own_redis: Redis,
    redis_key: str,
    kafka_bootstrap: str,
    topic_prefix: str,
) -> None:
    """Who finds no snapshot asks its owner; who finds an old one would let a revoked key pass."""
    await own_redis.config_set("maxmemory-policy", "noeviction")
    kafka = KafkaDestination(kafka_bootstrap, topic_prefix)
    async with relaying(RedisDestination(own_redis), kafka), own_redis.pubsub() as news:
        await write(database, redis_key, 1)
        assert await is_delivered(database, [redis_key], 30)
        await news.subscribe(INVALIDATION_CHANNEL)
        await own_redis.config_set("maxmemory", 1)
        async with database.change_by_system("test", audited=False) as change:
            change.snapshot(redis_key, ServiceSnapshot(version=2))
            change.publish(topics.CATALOG_EVENTS, "s", CatalogEvent(event_id="e"))
        assert await is_delivered(database, [redis_key], 30)
        assert await own_redis.get(redis_key) is None

        async def is_announced() -> bool:
            message = await news.get_message(ignore_subscribe_messages=True, timeout=0.1)
            return message is not None and message["data"] == redis_key.encode()

        await eventually(is_announced)
        consumer = AIOKafkaConsumer(
            topic_prefix + topics.CATALOG_EVENTS,
            bootstrap_servers=kafka_bootstrap,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        assert CatalogEvent.FromString((await consumer.getone()).value).event_id == "e"
        await consumer.stop()
        await own_redis.config_set("maxmemory", 0)
        await write(database, redis_key, 3)
        assert await is_delivered(database, [redis_key], 30)
        assert await version_in(own_redis, redis_key) == 3


async def test_while_redis_refuses_all_writes_snapshots_wait_and_arrive_afterwards(
    database: Database, relaying: Relaying, own_redis: Redis, redis_key: str
) -> None:
    await own_redis.config_set("min-replicas-to-write", 1)
    async with relaying(RedisDestination(own_redis)):
        await write(database, redis_key, 1)
        assert not await is_delivered(database, [redis_key], 0.2)
        assert await waiting(database) == 1
        await own_redis.config_set("min-replicas-to-write", 0)
        assert await is_delivered(database, [redis_key], 30)
    assert await version_in(own_redis, redis_key) == 1


async def test_waiting_for_a_delivery_ends_when_others_still_wait(database: Database, redis_key: str) -> None:
    await write(database, service_snapshot_key(uuid7()), 1)
    assert await is_delivered(database, [redis_key], 30)


async def test_a_snapshot_that_waits_is_not_queued_once_more(database: Database, redis_key: str) -> None:
    snapshots = {redis_key: ServiceSnapshot(version=1)}
    for _ in range(3):
        await write_again(database, snapshots)
    assert await waiting(database) == 1


async def test_nothing_is_queued_once_more_while_very_many_wait(
    database: Database, monkeypatch: pytest.MonkeyPatch, redis_key: str
) -> None:
    monkeypatch.setattr(outbox, "_MOST_WAITING", 2)
    for _ in range(3):
        await write_again(database, {service_snapshot_key(uuid7()): ServiceSnapshot(version=1)})
    assert await waiting(database) == 2
