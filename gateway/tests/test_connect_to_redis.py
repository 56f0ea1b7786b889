"""The kept client against each kind of Redis: with ACL, behind TLS, a cluster, named by sentinels."""

from pathlib import Path

import pytest
from ams_common import ports
from ams_common.redis_client import RedisClient, RedisUrlError, connect, opened
from ams_common.testing.certificates import write_certificate
from ams_common.testing.eventually import eventually
from ams_gateway.access.limits.limiter import Limiter
from ams_gateway.access.limits.policy import LimitPolicy
from ams_local.redis_variants import cluster_url, serve_cluster, serve_redis, serve_tls
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError


async def limits_hold(client: RedisClient) -> None:
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
        async with opened(f"redis://gateway:p%40ss%2Fw%3Ard@127.0.0.1:{port}/0", retries=0) as client:
            await limits_hold(client)
        async with opened(f"redis://gateway:wrong@127.0.0.1:{port}/0") as client:
            with pytest.raises(RedisError):
                await client.get("ams:x")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return write_certificate(tmp_path)


async def test_tls_is_used_and_the_certificate_is_checked(tmp_path: Path, certificate: Path) -> None:
    port = ports.free_port()
    async with serve_redis(tmp_path, port), serve_tls(certificate, port) as tls_port:
        url = f"rediss://localhost:{tls_port}/0"
        async with opened(url, ca_file=str(certificate), retries=0, timeout_s=5) as client:
            await limits_hold(client)
        async with opened(url, timeout_s=5) as client:
            with pytest.raises(RedisConnectionError, match="certificate"):
                await client.get("ams:x")


async def test_a_cluster_of_three_holds_each_counter_on_one_node(tmp_path: Path) -> None:
    async with (
        serve_cluster(tmp_path) as nodes,
        opened(cluster_url(nodes), retries=0, timeout_s=2) as client,
    ):
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
        async with opened(url, retries=0, timeout_s=2) as client:
            await limits_hold(client)
        async with Redis(port=replica, password="secret") as other:
            assert await other.role()

            async def has_followed() -> bool:
                return bool(await other.exists("ams:limit:workers"))

            assert await eventually(has_followed)


async def test_a_redis_that_is_not_there_fails_at_once() -> None:
    port = ports.free_port()
    async with opened(f"redis://127.0.0.1:{port}/0") as client:
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
