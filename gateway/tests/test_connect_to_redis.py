"""The kept client against each kind of Redis: with ACL, behind TLS, a cluster, named by sentinels."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from ams_common import ports
from ams_common.testing.eventually import eventually
from ams_gateway.access.limits.limiter import Limiter
from ams_gateway.access.limits.policy import LimitPolicy
from ams_gateway.access.redis_client import RedisUrlError, connect, disconnect
from ams_gateway.testing.certificates import write_certificate
from ams_local.daemons import Daemon
from ams_local.redis import find_program
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError


@asynccontextmanager
async def serve_redis(
    directory: Path, port: int, *arguments: str, config: str = "", name: str = "redis"
) -> AsyncIterator[None]:
    """A redis-server of the test's own, once it listens."""
    home = directory / f"{name}-{port}"
    home.mkdir()
    (home / "redis.conf").write_text(
        f'port {port}\nbind 127.0.0.1\nsave ""\nappendonly no\ndir {home}\n{config}'
    )
    command = [find_program(), str(home / "redis.conf"), *arguments]
    daemon = Daemon(name, command, log=home / "log", directory=home)
    try:
        await asyncio.to_thread(daemon.wait_until, lambda: ports.is_listening(port), 30)
        yield
    finally:
        await asyncio.to_thread(daemon.stop)


async def has_come(client: Redis | RedisCluster) -> bool:
    try:
        return bool(await client.ping())
    except RedisError:
        return False


@asynccontextmanager
async def opened(client: Redis | RedisCluster) -> AsyncIterator[Redis | RedisCluster]:
    try:
        yield client
    finally:
        await disconnect(client)


async def limits_hold(client: Redis | RedisCluster) -> None:
    """Leases, registry and scripts work over it: of ten calls to each of 20 services three pass."""
    limiter = Limiter(client, workers_hint=1)
    await limiter.open()

    async def is_up() -> bool:
        return limiter.is_up

    # A busy machine may let an answer wait for so long that Redis counts as away for a moment.
    await eventually(is_up)
    for number in range(20):
        policy = LimitPolicy(service_id=f"s{number}", consumer_id="c", key_id="k", per_minute=3, per_day=9)
        bucket = limiter.bucket(policy)
        answers = [bucket.take() or await bucket.acquire() for _ in range(10)]
        assert sum(answer.allowed for answer in answers) == 3
    await eventually(is_up)
    await limiter.close()


async def test_a_user_of_the_acl_comes_in_and_another_does_not(tmp_path: Path) -> None:
    port = ports.free_port()
    acl = "user default off\nuser gateway on >p@ss/w:rd ~ams:* &* +@all\n"
    async with serve_redis(tmp_path, port, config=acl):
        async with opened(
            connect(f"redis://gateway:p%40ss%2Fw%3Ard@127.0.0.1:{port}/0", retries=0)
        ) as client:
            await limits_hold(client)
        async with opened(connect(f"redis://gateway:wrong@127.0.0.1:{port}/0")) as client:
            with pytest.raises(RedisError):
                await client.get("ams:x")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return write_certificate(tmp_path)


@asynccontextmanager
async def serve_tls(certificate: Path, behind: int) -> AsyncIterator[int]:
    """Ends TLS before a server: the wheel's redis-server is built without."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", behind)

        async def copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
            try:
                while piece := await source.read(65536):
                    to.write(piece)
                    await to.drain()
            except ConnectionError:
                pass
            finally:
                to.close()

        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def test_tls_is_used_and_the_certificate_is_checked(tmp_path: Path, certificate: Path) -> None:
    port = ports.free_port()
    async with serve_redis(tmp_path, port), serve_tls(certificate, port) as tls_port:
        url = f"rediss://localhost:{tls_port}/0"
        async with opened(connect(url, ca_file=str(certificate), retries=0, timeout_s=5)) as client:
            await limits_hold(client)
        async with opened(connect(url, timeout_s=5)) as client:
            with pytest.raises(RedisConnectionError, match="certificate"):
                await client.get("ams:x")


async def test_a_cluster_of_three_holds_each_counter_on_one_node(tmp_path: Path) -> None:
    # Each node talks to the others on a port ten thousand higher.
    nodes = [port for port in ports.free_ports(12) if ports.is_free(port + 10_000)][:3]
    config = "cluster-enabled yes\ncluster-node-timeout 2000\n"
    async with (
        serve_redis(tmp_path, nodes[0], config=config),
        serve_redis(tmp_path, nodes[1], config=config),
        serve_redis(tmp_path, nodes[2], config=config),
    ):
        for index, port in enumerate(nodes):
            node: Any
            async with Redis(port=port) as node:
                first, last = 16384 * index // 3, 16384 * (index + 1) // 3 - 1
                await node.execute_command("CLUSTER", "ADDSLOTS", *range(first, last + 1))
                for other in nodes[:index]:
                    await node.execute_command("CLUSTER", "MEET", "127.0.0.1", other)

        async def is_whole() -> bool:
            for port in nodes:
                node: Any
                async with Redis(port=port) as node:
                    info: bytes = await node.execute_command("CLUSTER", "INFO")
                    if b"cluster_state:ok" not in info or b"cluster_known_nodes:3" not in info:
                        return False
            return True

        await eventually(is_whole)
        url = "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in nodes[:2])
        async with opened(connect(url, retries=0, timeout_s=2)) as client:
            await limits_hold(client)
            sizes = []
            for port in nodes:
                async with Redis(port=port) as node:
                    sizes.append(await node.dbsize())
            assert sum(sizes) >= 40
            assert all(sizes)


async def test_sentinels_name_the_primary(tmp_path: Path) -> None:
    primary, replica, sentinel = ports.free_ports(3)
    watched = (
        f"sentinel monitor ams-redis 127.0.0.1 {primary} 1\nsentinel down-after-milliseconds ams-redis 1000\n"
        "sentinel auth-user ams-redis default\nsentinel auth-pass ams-redis secret\n"
    )
    protected = "requirepass secret\nmasterauth secret\n"
    async with (
        serve_redis(tmp_path, primary, config=protected),
        serve_redis(tmp_path, replica, config=protected + f"replicaof 127.0.0.1 {primary}\n"),
        serve_redis(tmp_path, sentinel, "--sentinel", config=watched, name="sentinel"),
    ):
        url = f"redis+sentinel://default:secret@127.0.0.1:1,127.0.0.1:{sentinel}/ams-redis/0"
        async with opened(connect(url, retries=0, timeout_s=2)) as client:
            await limits_hold(client)
        async with Redis(port=replica, password="secret") as other:
            assert await other.role()

            async def has_followed() -> bool:
                return bool(await other.exists("ams:limit:workers"))

            assert await eventually(has_followed)


async def test_a_redis_that_is_not_there_fails_at_once() -> None:
    port = ports.free_port()
    async with opened(connect(f"redis://127.0.0.1:{port}/0")) as client:
        with pytest.raises(RedisConnectionError):
            await client.get("ams:x")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1",
        "redis+ring://127.0.0.1",
        "redis://127.0.0.1/zero",
        "redis://127.0.0.1:port",
        "redis+sentinel://127.0.0.1:26379",
    ],
)
def test_an_address_of_no_known_form_is_refused(url: str) -> None:
    with pytest.raises(RedisUrlError):
        connect(url)
