"""Redis, the owners of snapshots and identity-svc may hang, one or all: nobody waits long for them."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.identity.v1 import identity_service_pb2_grpc as identity_rpc
from ams.keys.v1 import keys_service_pb2_grpc as keys_rpc
from ams.keys.v1.events_pb2 import KeySnapshot
from ams_common.client import ServiceToken, open_channel
from ams_common.snapshots import key_snapshot_key, service_snapshot_key
from ams_gateway.access.confirmations import Confirmations
from ams_gateway.access.snapshot_cache import SnapshotCache, SourceDownError
from ams_gateway.access.snapshot_sources import CatalogSvcSource, KeysSvcSource, RedisSource
from ams_gateway.access.snapshot_table import CacheLimits
from ams_gateway.testing.links import Link
from ams_gateway.testing.owners import Identity, Keys, serve
from redis.asyncio import Redis


class System:
    """A cache of keys, with a link to each of those that it depends on."""

    def __init__(self, redis: "Redis", keys: Keys, links: dict[str, Link], owner: KeysSvcSource) -> None:
        self.redis = redis
        self.keys = keys
        self.links = links
        self.owner = owner
        # As a gateway's client: it gives up by itself only after long.
        self.client = Redis(
            host="127.0.0.1", port=links["redis"].port, socket_timeout=30, max_connections=100
        )
        source = RedisSource(self.client, owner)
        self.cache = SnapshotCache(
            source, KeySnapshot.FromString, CacheLimits(), version_of=lambda value: value.version
        )
        self.confirmations = Confirmations(self.cache, source)

    async def write(self, version: int, *, to_redis: bool = True, to_owner: bool = True) -> str:
        """One more key, or a newer version of it when `names` has it."""
        key_hash = uuid4().bytes * 2
        return await self.change(key_snapshot_key(key_hash), version, to_redis=to_redis, to_owner=to_owner)

    async def change(self, name: str, version: int, *, to_redis: bool = True, to_owner: bool = True) -> str:
        snapshot = KeySnapshot(key_id=name, version=version)
        if to_redis:
            await self.redis.set(name, snapshot.SerializeToString(), ex=600)
        if to_owner:
            self.keys.snapshots[bytes.fromhex(name.rpartition(":")[2])] = snapshot
        return name

    def held_version(self, name: str) -> int | None:
        entry = self.cache.get_cached(name)
        return entry.value.version if entry is not None and entry.value is not None else None


@pytest.fixture
async def system(redis: "Redis", redis_url: str) -> AsyncIterator[System]:
    parts, identity = urlsplit(redis_url), Identity()  # type: ignore[abstract]
    keys = Keys()  # type: ignore[abstract]
    async with (
        Link(parts.hostname or "", parts.port or 6379).open() as redis_link,
        serve(identity_rpc.add_IdentityServiceServicer_to_server, identity) as identity_link,
        serve(keys_rpc.add_KeysServiceServicer_to_server, keys) as keys_link,
        open_channel(f"127.0.0.1:{identity_link.port}") as identity_channel,
        open_channel(f"127.0.0.1:{keys_link.port}") as keys_channel,
    ):
        links = {"redis": redis_link, "identity-svc": identity_link, "keys-svc": keys_link}
        owner = KeysSvcSource(keys_channel, ServiceToken(identity_channel, "gateway", "secret"))
        system = System(redis, keys, links, owner)
        try:
            yield system
        finally:
            for link in links.values():
                link.resume()
            await system.cache.close()
            await system.client.aclose()


HANGING = [
    ("redis",),
    ("keys-svc",),
    ("identity-svc",),
    ("redis", "keys-svc"),
    ("redis", "identity-svc"),
    ("redis", "keys-svc", "identity-svc"),
]


@pytest.mark.parametrize("hanging", HANGING, ids="+".join)
async def test_a_known_key_never_waits_whoever_hangs(system: System, hanging: tuple[str, ...]) -> None:
    name = await system.write(1)
    await system.cache.get(name)
    for each in hanging:
        system.links[each].hang()
    system.cache.set_connected(False)
    confirming = asyncio.create_task(system.confirmations.confirm_due())
    for _ in range(5):
        await asyncio.sleep(0)
        # No turn of the event loop: this would raise if the coroutine waited for anything.
        with pytest.raises(StopIteration) as stopped:
            system.cache.get(name).send(None)
        assert stopped.value.value.version == 1
    await asyncio.wait_for(confirming, 20)
    assert system.held_version(name) == 1


@pytest.mark.parametrize("hanging", [*HANGING[:1], *HANGING[3:]], ids="+".join)
async def test_an_unknown_key_waits_a_bounded_time_and_not_each_one_anew(
    system: System, hanging: tuple[str, ...]
) -> None:
    names = [await system.write(1, to_redis=number == 0) for number in range(40)]
    for each in hanging:
        system.links[each].hang()
    started_s = time.monotonic()
    for name in names:
        if hanging == ("redis",):
            snapshot = await system.cache.get(name)
            assert snapshot is not None
        else:
            with pytest.raises(SourceDownError):
                await system.cache.get(name)
    # Forty waits of up to a second each would be up to forty.
    assert time.monotonic() - started_s < 20


async def test_with_the_owner_away_a_slow_redis_is_waited_for(system: System) -> None:
    name = await system.write(1, to_owner=False)
    await system.client.ping()
    for each in ("redis", "keys-svc"):
        system.links[each].hang()
    asked = asyncio.create_task(system.cache.get(name))
    # Longer than Redis is asked alone; and long before the asker's time is up.
    await asyncio.wait((asked,), timeout=0.45)
    assert not asked.done()
    system.links["redis"].resume()
    snapshot = await asked
    assert snapshot is not None
    assert snapshot.key_id == name


async def test_with_redis_hanging_the_owner_is_heard(system: System) -> None:
    name = await system.write(1, to_redis=False)
    await system.client.ping()
    system.links["redis"].hang()
    snapshot = await system.cache.get(name)
    assert snapshot is not None
    assert snapshot.key_id == name


async def test_while_a_new_service_token_hangs_the_last_one_is_used(system: System) -> None:
    first, second = [await system.write(1, to_redis=False) for _ in range(2)]
    await system.cache.get(first)
    system.links["identity-svc"].hang()
    snapshot = await system.cache.get(second)
    assert snapshot is not None
    assert snapshot.key_id == second


async def test_a_look_up_that_was_given_up_leaves_no_answer_to_the_next(system: System) -> None:
    first, second = [await system.write(1, to_owner=False) for _ in range(2)]
    system.client.connection_pool.max_connections = 1
    await system.client.ping()
    system.links["redis"].hang()
    # Nobody knows the first: Redis hangs, and keys-svc has never heard of it.
    assert await system.cache.get(first) is None
    system.links["redis"].resume()
    await asyncio.sleep(0.1)
    assert await system.client.get(second) == await system.redis.get(second)
    snapshot = await system.cache.get(second)
    assert snapshot is not None
    assert snapshot.key_id == second


async def test_a_redis_restored_from_an_older_copy_opens_nothing(system: System) -> None:
    held, new = await system.write(5), await system.write(5)
    await system.cache.get(held)
    for name in (held, new):
        await system.change(name, 4, to_owner=False)
    # A gateway that was started beside it takes the old copy, until the next batch.
    await system.cache.get(new)
    system.cache.set_connected(True)
    await system.confirmations.confirm_due()
    assert (system.held_version(held), system.held_version(new)) == (5, 5)
    system.cache.invalidate(held)
    snapshot = await system.cache.get(held)
    assert snapshot is not None
    assert snapshot.version == 5


async def test_a_write_that_redis_refused_takes_effect_without_it(system: System) -> None:
    name = await system.write(1)
    await system.cache.get(name)
    await system.change(name, 2, to_redis=False)
    system.cache.set_connected(True)
    await system.confirmations.confirm_due()
    assert system.held_version(name) == 2


async def test_while_keys_svc_hangs_redis_is_asked(system: System) -> None:
    name = await system.write(1)
    await system.cache.get(name)
    system.links["keys-svc"].hang()
    await system.change(name, 2)
    system.cache.set_connected(True)
    await asyncio.wait_for(system.confirmations.confirm_due(), 20)
    assert system.held_version(name) == 2


async def test_what_the_owner_said_is_put_into_redis_only_where_nothing_newer_is_or_was(
    system: System,
) -> None:
    empty, removed, newer = [await system.write(3, to_redis=False) for _ in range(3)]
    # As keys-svc leaves it when Redis is full: the snapshot is gone, its version stays.
    await system.redis.set(f"{{{removed}}}:version", 4, ex=600)
    source = RedisSource(system.redis, system.owner)
    await system.change(newer, 4, to_owner=False)
    before = await system.redis.get(newer)
    for name in (empty, removed, newer):
        source.offer(name, b"offered", 3)
    await asyncio.gather(*source._offers)
    assert await system.redis.get(empty) == b"offered"
    assert await system.redis.get(f"{{{empty}}}:version") == b"3"
    assert await system.redis.get(removed) is None
    assert await system.redis.get(newer) == before


class Catalog(catalog_rpc.CatalogServiceServicer):
    """Says that everything has changed."""

    def __init__(self, snapshot: ServiceSnapshot) -> None:
        self._snapshot = snapshot

    async def CheckServiceSnapshots(
        self, request: catalog_pb.CheckServiceSnapshotsRequest, context: Any
    ) -> catalog_pb.CheckServiceSnapshotsResponse:
        missing = [held.service for held in request.held if held.service.startswith("gone")]
        return catalog_pb.CheckServiceSnapshotsResponse(changed=[self._snapshot], missing=missing)


async def test_a_change_reaches_a_service_under_every_name_that_it_was_asked_for_by() -> None:
    service_id = str(uuid4())
    snapshot = ServiceSnapshot(service_id=service_id, slug="weather", version=2)
    identity, catalog = Identity(), Catalog(snapshot)  # type: ignore[abstract]
    async with (
        serve(identity_rpc.add_IdentityServiceServicer_to_server, identity) as identity_link,
        serve(catalog_rpc.add_CatalogServiceServicer_to_server, catalog) as catalog_link,
        open_channel(f"127.0.0.1:{identity_link.port}") as identity_channel,
        open_channel(f"127.0.0.1:{catalog_link.port}") as catalog_channel,
    ):
        source = CatalogSvcSource(catalog_channel, ServiceToken(identity_channel, "gateway", "secret"))
        same = [service_snapshot_key(name) for name in (service_id, service_id.upper(), "weather", "Weather")]
        gone, other = service_snapshot_key("gone"), service_snapshot_key("other")
        changes = await source.check(dict.fromkeys([*same, gone, other], 1))
    assert changes == {gone: None} | dict.fromkeys(same, snapshot.SerializeToString())
