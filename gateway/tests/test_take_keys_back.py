"""What was revoked, blocked or suspended stays so, whatever becomes of Redis."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientSession
from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.identity.v1 import events_pb2 as identity
from ams.keys.v1 import events_pb2 as keys
from ams_common.snapshots import key_snapshot_key, service_snapshot_key
from ams_common.testing.eventually import eventually
from ams_gateway.settings import Settings
from ams_gateway.testing.running import GrantedKey, Running, serve_gateway

# Within a minute is what is promised; the gateway is told to look every second.
CONFIRM_S = 1.0
REVOKED = {"status": keys.KEY_REVOKED}
BLOCKED = {"consumer_standing": identity.STANDING_BLOCKED}
SUSPENDED = {"merchant_standing": identity.STANDING_SUSPENDED}
STOPS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a revoked key": ("key", REVOKED, "key_revoked"),
    "a blocked consumer": ("key", BLOCKED, "consumer_blocked"),
    "a suspended merchant": ("service", SUSPENDED, "merchant_suspended"),
}


class Owner:
    """Keeps to the contract of keys-svc and catalog-svc: the snapshot in force, and what differs from it."""

    def __init__(self, read: Any) -> None:
        self._read = read
        self.snapshots: dict[str, bytes] = {}

    async def load(self, name: str) -> bytes | None:
        return self.snapshots.get(name)

    async def check(self, held: Mapping[str, int]) -> dict[str, bytes | None]:
        return {
            name: self.snapshots.get(name)
            for name, version in held.items()
            if name not in self.snapshots or self._read(self.snapshots[name]).version != version
        }


class System:
    """One key and one service with their owners, and Redis beside them."""

    def __init__(self, settings: Settings, granted: GrantedKey) -> None:
        self.settings = settings
        self.granted = granted
        self.keys = Owner(keys.KeySnapshot.FromString)
        self.services = Owner(ServiceSnapshot.FromString)
        self._key_id = granted.service_id[::-1]
        self._merchant_id = granted.consumer_id[::-1]

    async def write(self, **key: Any) -> None:
        """Into Redis and announced, and the owners know it."""
        await self.granted.write_key(**({"key_id": self._key_id, "version": 1} | key))
        await self.granted.write_service(merchant_id=self._merchant_id, version=1)
        await self.adopt()

    async def write_stop(self, what: str, fields: dict[str, Any]) -> None:
        """As the owner writes it when Redis takes it."""
        if what == "key":
            await self.granted.write_key(key_id=self._key_id, version=2, **fields)
        else:
            await self.granted.write_service(merchant_id=self._merchant_id, version=2, **fields)
        await self.adopt()

    async def adopt(self) -> None:
        """The owners' word is what lies in Redis."""
        redis, granted = self.granted.redis, self.granted
        for owner, names in (
            (self.keys, [key_snapshot_key(granted.key.sha256)]),
            (self.services, [service_snapshot_key(name) for name in (granted.slug, granted.service_id)]),
        ):
            for name in names:
                snapshot = await redis.get(name)
                assert isinstance(snapshot, bytes)
                owner.snapshots[name] = snapshot

    def copy_redis(self) -> dict[str, bytes]:
        return self.keys.snapshots | self.services.snapshots

    async def restore_redis(self, copies: dict[str, bytes]) -> None:
        for name, copy in copies.items():
            await self.granted.redis.set(name, copy, ex=600)

    def gateway(self) -> Any:
        return serve_gateway(self.settings, (self.keys, self.services))


@pytest.fixture
async def system(settings: Settings, granted: GrantedKey) -> System:
    system = System(settings, granted)
    await system.write()
    return system


def hurry(gateway: Running) -> None:
    for cache in (gateway.runtime.keys, gateway.runtime.services):
        cache._limits = replace(cache._limits, confirm_s=CONFIRM_S)


async def call(http: ClientSession, gateway: Running, granted: GrantedKey) -> str:
    """The problem's code; "" for an answer of the merchant's."""
    async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
        is_problem = answer.content_type == "application/problem+json"
        return str((await answer.json(content_type=None))["code"]) if is_problem else ""


async def becomes(http: ClientSession, gateway: Running, granted: GrantedKey, code: str) -> None:
    async def is_so() -> bool:
        return await call(http, gateway, granted) == code

    await eventually(is_so, timeout_s=20)


@pytest.mark.parametrize("stop", STOPS)
async def test_a_stop_that_redis_refused_takes_effect_by_the_owners_word(
    system: System, http: ClientSession, stop: str
) -> None:
    what, fields, code = STOPS[stop]
    async with system.gateway() as gateway:
        hurry(gateway)
        assert await call(http, gateway, system.granted) == ""
        copies = system.copy_redis()
        await system.write_stop(what, fields | ({"silently": True} if what == "key" else {}))
        # Redis took neither the write nor the announcement.
        await system.restore_redis(copies)
        await becomes(http, gateway, system.granted, code)


@pytest.mark.parametrize("stop", STOPS)
async def test_a_redis_restored_from_an_older_copy_opens_nothing_again(
    system: System, http: ClientSession, stop: str
) -> None:
    what, fields, code = STOPS[stop]
    copies = system.copy_redis()
    async with system.gateway() as gateway:
        assert await call(http, gateway, system.granted) == ""
        await system.write_stop(what, fields)
        await becomes(http, gateway, system.granted, code)
        await system.restore_redis(copies)
        # The gateway has known better: it believes the copy not even for a moment.
        for cache in (gateway.runtime.keys, gateway.runtime.services):
            for name in copies:
                cache.invalidate(name)
        assert await call(http, gateway, system.granted) == code
    # One that is started beside the old copy can't know, until it has asked.
    async with system.gateway() as gateway:
        await becomes(http, gateway, system.granted, code)
        assert await call(http, gateway, system.granted) == code


async def test_what_the_owner_has_never_heard_of_closes_though_redis_has_it(
    system: System, http: ClientSession
) -> None:
    async with system.gateway() as gateway:
        hurry(gateway)
        system.keys.snapshots.clear()
        await becomes(http, gateway, system.granted, "key_invalid")
