"""One command writes all keys' snapshots again; what the service has written meanwhile stays."""

import asyncio
import os
import sys
from typing import Any

from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_REVOKED, KeySnapshot
from ams_common import apikeys
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.snapshots import INVALIDATION_CHANNEL, key_snapshot_key, snapshot_version_key
from keys_svc.rebuilding import rebuild_snapshots
from keys_svc.store import Store
from redis.asyncio import Redis


def name_of(secret: str) -> str:
    key_hash = apikeys.hash_key(secret)
    assert key_hash is not None
    return key_snapshot_key(key_hash)


async def held(redis: Redis, secret: str) -> KeySnapshot | None:
    data: Any = await redis.get(name_of(secret))
    return KeySnapshot.FromString(data) if data is not None else None


async def test_all_secrets_come_back_after_a_flush_and_gateways_are_told(
    consumer: Any, outsider: Any, new_key: Any, gateway: Any, own_redis: Redis, database: Database[Store]
) -> None:
    created = [await new_key(consumer), await new_key(outsider), await new_key(consumer)]
    rotated = await consumer("RotateKey", key_id=created[0].key.key_id, overlap_minutes=60)
    await consumer("RevokeKey", key_id=created[2].key.key_id)
    secrets = [each.secret for each in created] + [rotated.secret]
    async with own_redis.pubsub() as channel:
        await channel.subscribe(INVALIDATION_CHANNEL)
        await channel.get_message(timeout=5)
        assert await rebuild_snapshots(database, own_redis, utc_now) == 4
        told: set[str] = set()
        while len(told) < 4:
            message = await channel.get_message(timeout=5)
            assert message is not None
            told.add(message["data"].decode())
    assert told == set(map(name_of, secrets))
    for secret in secrets:
        assert await held(own_redis, secret) == await gateway(
            "GetKeySnapshot", key_hash=apikeys.hash_key(secret)
        )


async def test_an_old_copy_is_replaced_and_a_newer_one_stays(
    consumer: Any, new_key: Any, own_redis: Redis, database: Database[Store]
) -> None:
    revoked, changed = await new_key(consumer), await new_key(consumer)
    await rebuild_snapshots(database, own_redis, utc_now)
    await consumer("RevokeKey", key_id=revoked.key.key_id)
    newer = await held(own_redis, changed.secret)
    assert newer is not None
    newer.version += 10**15
    await own_redis.set(name_of(changed.secret), newer.SerializeToString())
    await own_redis.set(snapshot_version_key(name_of(changed.secret)), newer.version)
    await rebuild_snapshots(database, own_redis, utc_now)
    found = await held(own_redis, revoked.secret)
    assert found is not None
    assert found.status == KEY_REVOKED
    assert await held(own_redis, changed.secret) == newer
    assert newer.status == KEY_ACTIVE


async def test_the_command_says_how_many(
    consumer: Any, new_key: Any, own_redis: Redis, database_url: str, nobody_listens: str
) -> None:
    await new_key(consumer)
    port = own_redis.connection_pool.connection_kwargs["port"]
    away = dict.fromkeys(
        ("IDENTITY_ADDRESS", "CATALOG_ADDRESS", "USAGE_ADDRESS", "BILLING_ADDRESS"), nobody_listens
    )
    environment = {
        **os.environ,
        **away,
        "AMS_ENVIRONMENT": "test",
        "KEYS_DATABASE_URL": database_url,
        "REDIS_URL": f"redis://127.0.0.1:{port}",
        "KAFKA_BOOTSTRAP_SERVERS": nobody_listens,
        "KEYS_LISTEN": "127.0.0.1:0",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "keys_svc", "rebuild-snapshots", env=environment, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert (process.returncode, printed.decode()) == (0, "1 snapshots of keys were written\n")
