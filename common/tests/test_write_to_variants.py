"""Snapshots reach the gateways through whichever form of Redis operators run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams_common import ports
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.outbox import OutboxRelay, RedisDestination, is_delivered, write_now
from ams_common.redis_client import RedisClient, opened
from ams_common.server import cancel
from ams_common.snapshots import INVALIDATION_CHANNEL, service_snapshot_key
from ams_common.testing.certificates import write_certificate
from ams_common.testing.eventually import eventually
from ams_local.redis_variants import cluster_url, serve_cluster, serve_redis, serve_tls
from redis.asyncio import Redis

_ACL = "user default off\nuser writer on >p@ss ~ams:* ~{ams:* resetchannels &ams:* +@all\n"
_MANY = 50


@asynccontextmanager
async def _serving(kind: str, directory: Path) -> AsyncIterator[tuple[RedisClient, Redis]]:
    """The client that writes, and one that hears what is published."""
    if kind == "cluster":
        async with (
            serve_cluster(directory) as nodes,
            opened(cluster_url(nodes), timeout_s=5) as client,
            # Of the nodes any: what is published at one is heard at all.
            Redis(port=nodes[-1]) as hearing,
        ):
            yield client, hearing
        return
    port, certificate = ports.free_port(), write_certificate(directory)
    async with (
        serve_redis(directory, port, config=_ACL),
        serve_tls(certificate, port) as tls_port,
        opened(
            f"rediss://writer:p%40ss@localhost:{tls_port}/0", ca_file=str(certificate), timeout_s=5
        ) as client,
        Redis(port=port, username="writer", password="p@ss") as hearing,
    ):
        yield client, hearing


async def _version_in(client: RedisClient, redis_key: str) -> int | None:
    payload = await client.get(redis_key)
    return ServiceSnapshot.FromString(payload).version if isinstance(payload, bytes) else None


@pytest.mark.parametrize("kind", ["cluster", "tls and acl"])
async def test_a_batch_is_written_and_each_of_it_is_announced(
    kind: str, database: Database, database_url: str, tmp_path: Path
) -> None:
    redis_keys = [service_snapshot_key(uuid7()) for _ in range(_MANY)]
    async with _serving(kind, tmp_path) as (client, hearing), hearing.pubsub() as news:
        await news.subscribe(INVALIDATION_CHANNEL)
        # Held already, and newer than what comes.
        await write_now(client, {redis_keys[0]: ServiceSnapshot(version=9)})
        async with database.change_by_system("test", audited=False) as change:
            for redis_key in redis_keys:
                change.snapshot(redis_key, ServiceSnapshot(version=3))
        relay = asyncio.create_task(OutboxRelay(database_url, RedisDestination(client)).run())
        assert await is_delivered(database, redis_keys, 30)
        versions = [await _version_in(client, redis_key) for redis_key in redis_keys]
        assert versions == [9] + [3] * (_MANY - 1)
        heard: set[bytes] = set()

        async def is_heard() -> bool:
            message = await news.get_message(ignore_subscribe_messages=True, timeout=0.1)
            heard.update([message["data"]] if message else [])
            return heard >= {redis_key.encode() for redis_key in redis_keys}

        await eventually(is_heard)
        await cancel([relay])
        await asyncio.gather(relay, return_exceptions=True)
