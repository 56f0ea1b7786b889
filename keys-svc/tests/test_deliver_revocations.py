"""Revoking tells when it holds: at once where Redis could be told, else by when gateways have asked."""

import asyncio
import hashlib
from datetime import timedelta
from typing import Any

import pytest
from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_REVOKED, KeySnapshot, KeyStatus
from ams_common.clock import from_timestamp, utc_now
from ams_common.database import Database
from ams_common.outbox import is_delivered
from ams_common.snapshots import INVALIDATION_CHANNEL, key_snapshot_key, snapshot_version_key
from ams_common.testing.eventually import eventually
from keys_svc.rpc import KeysService
from redis.asyncio import Redis


@pytest.fixture
def servicer(database: Database, catalog: Any) -> KeysService:
    """As it is in the process; its patience is long enough for a machine that is busy."""
    return KeysService(database=database, catalog=catalog, delivery_wait_s=5.0)


@pytest.fixture
def impatient(servicer: KeysService) -> KeysService:
    servicer.delivery_wait_s = 0.2
    return servicer


def redis_key_of(created: Any) -> str:
    return key_snapshot_key(hashlib.sha256(created.secret.encode()).digest())


async def status_in(redis: Redis, created: Any) -> KeyStatus.ValueType | None:
    payload = await redis.get(redis_key_of(created))
    return KeySnapshot.FromString(payload).status if isinstance(payload, bytes) else None


def says_by_when(revoked: pb.Key) -> bool:
    """Within the minute in which each gateway confirms what it holds."""
    if not revoked.HasField("effective_by"):
        return False
    remaining = from_timestamp(revoked.effective_by) - utc_now()
    return timedelta(seconds=30) < remaining <= timedelta(seconds=60)


async def test_where_redis_was_told_it_holds_already(
    consumer: Any, new_key: Any, relaying: Any, own_redis: Redis
) -> None:
    created = await new_key(consumer)
    async with relaying(own_redis):
        revoked = await consumer("RevokeKey", key_id=created.key.key_id)
    assert not revoked.HasField("effective_by")
    assert await status_in(own_redis, created) == KEY_REVOKED


async def test_while_redis_refuses_writes_the_answer_says_by_when(
    consumer: Any, new_key: Any, relaying: Any, own_redis: Redis, database: Database, impatient: KeysService
) -> None:
    created = await new_key(consumer)
    async with relaying(own_redis):
        assert await is_delivered(database, redis_key_of(created), 30)
        await own_redis.config_set("min-replicas-to-write", 1)
        revoked = await consumer("RevokeKey", key_id=created.key.key_id)
        assert says_by_when(revoked)
        assert await status_in(own_redis, created) == KEY_ACTIVE
        await own_redis.config_set("min-replicas-to-write", 0)

        async def has_arrived() -> bool:
            return await status_in(own_redis, created) == KEY_REVOKED

        await eventually(has_arrived)
    assert not (await consumer("GetKey", key_id=created.key.key_id)).HasField("effective_by")


async def test_while_redis_is_away_the_answer_says_by_when(
    consumer: Any, new_key: Any, relaying: Any, nobody_listens: str, impatient: KeysService
) -> None:
    created = await new_key(consumer)
    async with Redis.from_url(f"redis://{nobody_listens}") as away, relaying(away):
        assert says_by_when(await consumer("RevokeKey", key_id=created.key.key_id))


async def test_a_full_redis_holds_no_revoked_key_as_good_and_gateways_are_told(
    consumer: Any, new_key: Any, relaying: Any, own_redis: Redis, database: Database
) -> None:
    created = await new_key(consumer)
    await own_redis.config_set("maxmemory-policy", "noeviction")
    async with relaying(own_redis), own_redis.pubsub() as news:
        assert await is_delivered(database, redis_key_of(created), 30)
        assert await status_in(own_redis, created) == KEY_ACTIVE
        await news.subscribe(INVALIDATION_CHANNEL)
        await own_redis.config_set("maxmemory", 1)
        revoked = await consumer("RevokeKey", key_id=created.key.key_id)
        assert not revoked.HasField("effective_by")
        assert await status_in(own_redis, created) is None

        async def is_announced() -> bool:
            message = await news.get_message(ignore_subscribe_messages=True, timeout=0.1)
            return message is not None and message["data"] == redis_key_of(created).encode()

        await eventually(is_announced)


async def test_a_restored_redis_is_healed_as_soon_as_a_gateway_confirms_what_it_found_there(
    consumer: Any, gateway: Any, new_key: Any, relaying: Any, own_redis: Redis, database: Database
) -> None:
    created = await new_key(consumer)
    redis_key = redis_key_of(created)
    async with relaying(own_redis):
        assert await is_delivered(database, redis_key, 30)
        older: dict[str, Any] = {
            key: await own_redis.get(key) for key in (redis_key, snapshot_version_key(redis_key))
        }
        await consumer("RevokeKey", key_id=created.key.key_id)
        await own_redis.mset(older)
        assert await status_in(own_redis, created) == KEY_ACTIVE
        held = pb.CheckKeySnapshotsRequest.Held(
            key_hash=hashlib.sha256(created.secret.encode()).digest(),
            version=KeySnapshot.FromString(older[redis_key]).version,
        )
        answer = await gateway("CheckKeySnapshots", held=[held])
        assert [each.snapshot.status for each in answer.changed] == [KEY_REVOKED]

        async def is_healed() -> bool:
            return await status_in(own_redis, created) == KEY_REVOKED

        await eventually(is_healed)


async def test_no_lock_is_held_while_an_answer_waits(
    consumer: Any, new_key: Any, servicer: KeysService, database: Database
) -> None:
    """Nothing is relayed, so the first waits for long; the consumer can change other things meanwhile."""
    created = await new_key(consumer)
    servicer.delivery_wait_s = 60
    revoking = asyncio.create_task(consumer("RevokeKey", key_id=created.key.key_id))

    async def is_revoked() -> bool:
        return bool((await consumer("GetKey", key_id=created.key.key_id)).status == KEY_REVOKED)

    await eventually(is_revoked)
    await consumer("SetSpendCap")
    assert not revoking.done()
    async with database.connection() as connection:
        await connection.execute("DELETE FROM outbox")  # as the relay does once all is delivered
    assert not (await revoking).HasField("effective_by")
