"""What the gateway stands on hangs or is dead: calls by either entry that don't need it don't notice.

Nothing here is measured in milliseconds, for the machine may be busy: a number of calls, one after the other,
takes less than a fraction of what it would if each waited for what hangs."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession, TCPConnector
from aiokafka import AIOKafkaProducer
from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.identity.v1 import identity_service_pb2_grpc as identity_rpc
from ams.keys.v1 import keys_service_pb2_grpc as keys_rpc
from ams.keys.v1.events_pb2 import KeySnapshot
from ams_common.client import ServiceToken, open_channel
from ams_common.snapshots import key_snapshot_key, service_snapshot_key
from ams_common.testing.eventually import eventually
from ams_gateway.access.snapshot_sources import CatalogSvcSource, KeysSvcSource
from ams_gateway.settings import Settings
from ams_gateway.testing.links import Link
from ams_gateway.testing.merchants import Merchant
from ams_gateway.testing.owners import Identity, Keys, Services, serve
from ams_gateway.testing.running import GrantedKey, Running, serve_gateway
from ams_gateway.upstream.resolver import Resolver, ResolverLimits
from redis.asyncio import Redis

CALLS = 100
# The shortest that anything which hangs is waited for: a lease for two round trips of a quarter of a second,
# Redis' answer for half of one, an owner's for one.
WAIT_S = 0.25
MOST_S = CALLS * WAIT_S / 4


@dataclass
class System:
    """A gateway, with a link to each of those that it depends on."""

    gateway: Running
    keys: Keys
    services: Services
    links: dict[str, Link]

    async def own(self, granted: GrantedKey) -> None:
        """The owners know what is in Redis."""
        key = await granted.redis.get(key_snapshot_key(granted.key.sha256))
        service = await granted.redis.get(service_snapshot_key(granted.slug))
        assert isinstance(key, bytes) and isinstance(service, bytes)
        self.keys.snapshots[granted.key.sha256] = KeySnapshot.FromString(key)
        for name in (granted.slug, granted.service_id):
            self.services.snapshots[name] = ServiceSnapshot.FromString(service)


@pytest.fixture
async def system(settings: Settings, redis_url: str) -> AsyncIterator[System]:
    parts = urlsplit(redis_url)
    keys, services, identity = Keys(), Services(), Identity()  # type: ignore[abstract]
    async with contextlib.AsyncExitStack() as stack:
        links = {
            "Redis": await stack.enter_async_context(
                Link(parts.hostname or "", parts.port or 6379).open(),
            ),
            "keys-svc": await stack.enter_async_context(
                serve(keys_rpc.add_KeysServiceServicer_to_server, keys)
            ),
            "catalog-svc": await stack.enter_async_context(
                serve(catalog_rpc.add_CatalogServiceServicer_to_server, services)
            ),
            "identity-svc": await stack.enter_async_context(
                serve(identity_rpc.add_IdentityServiceServicer_to_server, identity)
            ),
        }
        channels = {
            name: await stack.enter_async_context(open_channel(f"127.0.0.1:{link.port}"))
            for name, link in links.items()
            if name != "Redis"
        }
        token = ServiceToken(channels["identity-svc"], "gateway", "secret")
        sources = KeysSvcSource(channels["keys-svc"], token), CatalogSvcSource(channels["catalog-svc"], token)
        linked = replace(
            settings, redis_url=parts._replace(netloc=f"127.0.0.1:{links['Redis'].port}").geturl()
        )
        try:
            async with serve_gateway(linked, sources) as gateway:
                yield System(gateway, keys, services, links)
                # Or its end would wait for them.
                for link in links.values():
                    link.resume()
        finally:
            for link in links.values():
                link.resume()


async def call(http: ClientSession, gateway: Running, granted: GrantedKey) -> tuple[int, str]:
    url = f"{gateway.url}/api/consume/{granted.slug}/x"
    async with http.get(url, headers={"X-API-Key": granted.key.secret}) as answer:
        if answer.content_type != "application/problem+json":
            return answer.status, await answer.text()
        return answer.status, (await answer.json())["code"]


@pytest.mark.parametrize(
    "hanging",
    [
        ("Redis",),
        ("Redis", "keys-svc"),
        ("Redis", "catalog-svc"),
        ("Redis", "identity-svc"),
        ("keys-svc", "catalog-svc", "identity-svc"),
        ("Redis", "keys-svc", "catalog-svc", "identity-svc"),
    ],
    ids="+".join,
)
async def test_a_known_keys_calls_wait_for_nobody_who_hangs(
    system: System, http: ClientSession, granted: GrantedKey, hanging: tuple[str, ...]
) -> None:
    gateway = system.gateway
    await granted.write_service(rate_limit_per_minute=100_000)
    await system.own(granted)
    assert await call(http, gateway, granted) == (200, "")
    for name in hanging:
        system.links[name].hang()
    # It is time to confirm all that is held, and nothing is heard of changes any more.
    for cache in (gateway.runtime.keys, gateway.runtime.services):
        cache.set_connected(False)
    confirming = [asyncio.create_task(each.confirm_due()) for each in gateway.runtime.confirmations]
    # The first may wait once for a lease: the limits notice by it that Redis hangs.
    assert await call(http, gateway, granted) == (200, "")
    begun_s = time.monotonic()
    for _ in range(CALLS):
        assert await call(http, gateway, granted) == (200, "")
    assert time.monotonic() - begun_s < MOST_S
    for name in hanging:
        system.links[name].resume()
    await asyncio.gather(*confirming)
    assert len(gateway.events()) == CALLS + 2


class DeadNames:
    """A name server that doesn't answer for names that end with `.dead` until the test ends."""

    def __init__(self) -> None:
        self.is_ended = threading.Event()

    def look_up(self, host: str) -> list[str]:
        if host.endswith(".dead"):
            self.is_ended.wait(60)
            raise OSError(host)
        return ["127.0.0.1"]


async def test_a_merchants_dead_names_hold_up_no_call_to_others(
    settings: Settings, merchant: Merchant, redis: "Redis"
) -> None:
    names = DeadNames()
    async with (
        serve_gateway(settings) as gateway,
        ClientSession(connector=TCPConnector(limit=0)) as http,
    ):
        # Its askers wait as long as the test: whoever is answered before them hasn't waited for them.
        limits = ResolverLimits(timeout_s=60)
        gateway.runtime.gateway._resolver = Resolver(allow_private=True, look_up=names.look_up, limits=limits)
        merchant_id = "0197b2a0-0000-7000-8000-000000000001"
        dead = [GrantedKey(redis, f"http://api-{number}.dead") for number in range(10)]
        for service in dead:
            await service.write_key()
            await service.write_service(merchant_id=merchant_id)
        alive = [
            await GrantedKey(redis, merchant.url(host=f"api-{number}.example")).write()
            for number in range(10)
        ]
        waiting = [asyncio.create_task(call(http, gateway, each)) for each in dead for _ in range(10)]
        for _ in range(10):
            for service in alive:
                assert await call(http, gateway, service) == (200, "")
        # A merchant has two look-ups at once, and sixteen that wait for their turn for two seconds.
        assert sum(not each.done() for each in waiting) >= 2
        names.is_ended.set()
        assert set(await asyncio.gather(*waiting)) == {(502, "upstream_unreachable")}
        assert len(gateway.events()) == len(merchant.requests) == 100


def connections_of(gateway: Running) -> list[Any]:
    """aiokafka's own, which it gives nobody: of what it reads through them nothing comes any more."""
    producer: AIOKafkaProducer | None = gateway.runtime.publisher._delivery._producer
    assert producer is not None
    return [connection._reader._transport for connection in producer.client._conns.values()]


async def test_operators_see_whether_kafka_answers_and_calls_dont_wait_for_it(
    settings: Settings, http: ClientSession, granted: GrantedKey, topic_prefix: str
) -> None:
    async with serve_gateway(replace(settings, kafka_topic_prefix=topic_prefix)) as gateway:

        async def kafka_up(expected: float) -> bool:
            async with http.get(f"{gateway.operator_url}/metrics") as answer:
                return f"\nams_gateway_kafka_up {expected}\n" in await answer.text()

        await eventually(lambda: kafka_up(1.0))
        transports = connections_of(gateway)
        for transport in transports:
            transport.pause_reading()
        assert await call(http, gateway, granted) == (200, "")
        await eventually(lambda: kafka_up(0.0))
        assert await call(http, gateway, granted) == (200, "")
        for transport in transports:
            if not transport.is_closing():
                transport.resume_reading()
        await eventually(lambda: kafka_up(1.0))
