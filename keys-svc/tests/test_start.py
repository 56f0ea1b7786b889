import asyncio
import hashlib
import os
import signal
import sys
from functools import partial
from typing import Any

from ams.identity.v1.events_pb2 import STANDING_BLOCKED
from ams.keys.v1.events_pb2 import KeySnapshot
from ams_common.ports import free_port
from ams_common.snapshots import key_snapshot_key
from ams_common.testing.eventually import eventually
from redis.asyncio import Redis


async def test_the_process_carries_a_block_from_kafka_to_redis_and_stops_in_peace(
    start_service: Any, consumer: Any, new_key: Any, send: Any, standing_event: Any, redis: Redis
) -> None:
    created = await new_key(consumer)
    redis_key = key_snapshot_key(hashlib.sha256(created.secret.encode()).digest())
    process = await start_service(free_port())
    await send(standing_event(consumer.user_id, STANDING_BLOCKED).SerializeToString())
    await eventually(partial(_is_blocked, redis, redis_key), timeout_s=30)
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


async def _is_blocked(redis: Redis, redis_key: str) -> bool:
    payload = await redis.get(redis_key)
    return (
        isinstance(payload, bytes) and KeySnapshot.FromString(payload).consumer_standing == STANDING_BLOCKED
    )


async def test_missing_settings_are_named_and_end_the_process() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KEYS_")}
    environment.pop("CATALOG_ADDRESS", None)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "keys_svc", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    for variable in ("KEYS_DATABASE_URL", "KEYS_LISTEN", "CATALOG_ADDRESS"):
        assert variable in errors.decode()
