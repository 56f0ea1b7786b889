"""Changes that reach a running gateway through Redis, and what happens when they can't."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession
from ams.keys.v1 import events_pb2 as keys
from ams_common.ports import free_port
from ams_common.snapshots import INVALIDATION_CHANNEL, key_snapshot_key
from ams_common.testing.eventually import eventually
from ams_gateway.access.invalidations import Invalidations
from ams_gateway.access.snapshot_sources import RedisSource
from ams_gateway.testing.running import GrantedKey, Running
from ams_local.redis import find_program
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import RedisError


async def status(http: ClientSession, gateway: Running, granted: GrantedKey) -> int:
    async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
        return answer.status


async def test_a_revocation_published_while_the_subscription_was_broken_takes_effect(
    gateway: Running, http: ClientSession, granted: GrantedKey
) -> None:
    invalidations = gateway.runtime.invalidations

    async def is_connected() -> bool:
        return invalidations.is_connected

    await eventually(is_connected)
    assert await status(http, gateway, granted) == 200
    # Written without a word to anybody: as if the message had been lost with the connection.
    await granted.write_key(status=keys.KEY_REVOKED, silently=True)
    assert await status(http, gateway, granted) == 200
    await granted.redis.client_kill_filter(_type="pubsub")

    async def is_refused() -> bool:
        return await status(http, gateway, granted) == 403

    await eventually(is_refused, timeout_s=5)
    await eventually(is_connected)


async def test_a_key_that_isnt_in_redis_any_more_is_unknown_to_a_fresh_gateway(
    gateway: Running, http: ClientSession, granted: GrantedKey
) -> None:
    await granted.redis.delete(key_snapshot_key(granted.key.sha256))
    assert await status(http, gateway, granted) == 401


class Heard:
    """A cache that remembers what it was told."""

    def __init__(self) -> None:
        self.invalidated: list[str] = []
        self.connected: list[bool] = []

    def invalidate(self, name: str) -> None:
        self.invalidated.append(name)

    def set_connected(self, connected: bool) -> None:
        self.connected.append(connected)


@contextlib.asynccontextmanager
async def listening(client: "Redis | RedisCluster", heard: Heard) -> AsyncIterator[None]:
    invalidations = Invalidations(client, (heard,), lambda name: heard if name.startswith("a") else None)
    await invalidations.open()
    try:
        await said(heard, 1)
        yield
    finally:
        await invalidations.close()


async def said(heard: Heard, times: int) -> None:
    """Until the cache has been told so many times that invalidations come in."""

    async def is_said() -> bool:
        return heard.connected.count(True) >= times

    await eventually(is_said)


async def told(heard: Heard, name: str) -> None:
    async def is_told() -> bool:
        return name in heard.invalidated

    await eventually(is_told)


async def test_a_change_is_told_to_the_cache_that_its_name_belongs_to(redis: "Redis") -> None:
    heard = Heard()
    async with listening(redis, heard):
        await redis.publish(INVALIDATION_CHANNEL, "b:not ours")
        await redis.publish(INVALIDATION_CHANNEL, b"a:\xff")
        await redis.publish(INVALIDATION_CHANNEL, "a:1")
        await told(heard, "a:1")
    # Other tests' gateways may be told of something through the same Redis.
    assert [name for name in heard.invalidated if not name.startswith("ams:")] == ["a:\ufffd", "a:1"]


async def test_a_lost_connection_is_told_of_even_if_the_client_is_back_by_itself(redis: "Redis") -> None:
    """What was published meanwhile is lost, so the caches have to confirm what they hold."""
    heard = Heard()
    async with listening(redis, heard):
        for times in (2, 3):
            await redis.client_kill_filter(_type="pubsub")
            await said(heard, times)
        await redis.publish(INVALIDATION_CHANNEL, "a:1")
        await told(heard, "a:1")


async def test_a_redis_that_hangs_is_noticed_and_so_is_its_return(redis_url: str) -> None:
    silent = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers each subscription, and nothing else once it hangs."""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(4096):
                if silent.is_set():
                    continue
                if b"SUBSCRIBE" in data:
                    writer.write(b"*3\r\n$9\r\nsubscribe\r\n$14\r\nams:invalidate\r\n:1\r\n")
                elif b"PING" in data:
                    writer.write(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n")
                else:
                    writer.write(b"+OK\r\n" * data.count(b"*"))
        writer.close()

    heard = Heard()
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    client = Redis(host="127.0.0.1", port=server.sockets[0].getsockname()[1], protocol=2)
    async with server, client, listening(client, heard):
        silent.set()

        async def is_noticed() -> bool:
            return heard.connected[-1] is False

        await eventually(is_noticed, timeout_s=10)
        silent.clear()
        await said(heard, 2)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[RedisCluster]:
    """A Redis Cluster of one node, which has all hash slots."""
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", ""]
    server = await asyncio.create_subprocess_exec(
        find_program(), *options, "--cluster-enabled", "yes", stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with Redis(host="127.0.0.1", port=port) as node:

            async def is_up() -> bool:
                with contextlib.suppress(RedisError):
                    return bool(await node.ping())
                return False

            await eventually(is_up)
            await node.execute_command("CLUSTER ADDSLOTS", *range(16384))  # type: ignore[no-untyped-call]

            async def is_formed() -> bool:
                info: dict[str, str] = await node.execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]
                return info["cluster_state"] == "ok"

            await eventually(is_formed)
        async with RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", port)]) as client:
            yield client
    finally:
        server.terminate()
        await server.wait()


class Owner:
    """Has every snapshot, and no change of any."""

    async def load(self, name: str) -> bytes | None:
        return f"snapshot of {name}".encode()

    async def check(self, held: object) -> dict[str, bytes | None]:
        return {}


async def test_snapshots_and_invalidations_come_through_a_redis_cluster(cluster: RedisCluster) -> None:
    heard, source, names = Heard(), RedisSource(cluster, Owner()), [f"a:{number}" for number in range(50)]
    async with listening(cluster, heard):
        for name in names:
            loaded = await source.load(name)
            assert loaded.is_by_owner
            assert loaded.data is not None
            source.offer(name, loaded.data, 1)
            await asyncio.gather(*source._offers)
        assert not (await source.load(names[0])).is_by_owner
        assert await source.read_copies([*names, "a:nothing"]) == {
            name: f"snapshot of {name}".encode() for name in names
        }
        await cluster.publish(INVALIDATION_CHANNEL, "a:1")
        await told(heard, "a:1")
