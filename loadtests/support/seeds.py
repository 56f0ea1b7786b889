"""API keys and services in Redis, as their owners write them: what a gateway needs to serve calls."""

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import redis
from ams.catalog.v1 import events_pb2 as catalog
from ams.identity.v1 import events_pb2 as identity
from ams.keys.v1 import events_pb2 as keys
from ams_common import apikeys
from ams_common.ids import uuid7
from ams_common.prices import price_message
from ams_common.sealing import DEVELOPMENT_SEALING_KEYS, Sealer
from ams_common.snapshots import key_snapshot_key, service_snapshot_key
from ams_rating.prices import Component, Meter, PerUnit, Price

# A limit is counted, and never reached.
UNREACHED_PER_MINUTE = 1_000_000_000
PRICE = price_message(Price("EUR", (Component(Meter.REQUESTS, PerUnit(Decimal("0.001"))),)))
CREDENTIAL_HEADER = "X-Upstream-Token"
_TTL_S = 3600


@dataclass(frozen=True)
class Service:
    slug: str
    base_url: str
    rate_limit_per_minute: int = UNREACHED_PER_MINUTE
    passes_cookies: bool = False
    allows_websockets: bool = False
    # What lets AMS in at the merchant's, in the header X-Upstream-Token; "": none, and calls aren't signed.
    credential: str = ""
    service_id: str = field(default_factory=lambda: str(uuid7()))

    def snapshot(self) -> catalog.ServiceSnapshot:
        snapshot = catalog.ServiceSnapshot(
            service_id=self.service_id,
            slug=self.slug,
            merchant_id=str(uuid7()),
            status=catalog.ACTIVE,
            type=catalog.API,
            merchant_standing=identity.STANDING_ACTIVE,
            base_url=self.base_url,
            rate_limit_per_minute=self.rate_limit_per_minute,
            price_version_id=str(uuid7()),
            price=PRICE,
            version=1,
        )
        snapshot.forwarding.passes_cookies = self.passes_cookies
        snapshot.forwarding.allows_websockets = self.allows_websockets
        if self.credential:
            sealer = Sealer(DEVELOPMENT_SEALING_KEYS)
            snapshot.credential.header_name = CREDENTIAL_HEADER
            snapshot.credential.sealed_value = sealer.seal(self.credential.encode())
            snapshot.signing_key.signing_key_id = str(uuid7())
            snapshot.signing_key.sealed_secret = sealer.seal(secrets.token_bytes(32))
        return snapshot


@dataclass(frozen=True, slots=True)
class Grant:
    """An API key, and what AMS alone knows it and its owner by."""

    secret: str
    key_id: str
    consumer_id: str


def key_snapshot(key: apikeys.ApiKey, services: Iterable[Service]) -> keys.KeySnapshot:
    snapshot = keys.KeySnapshot(
        key_id=str(uuid7()),
        consumer_id=str(uuid7()),
        key_prefix=key.prefix,
        service_ids=[service.service_id for service in services],
        status=keys.KEY_ACTIVE,
        consumer_standing=identity.STANDING_ACTIVE,
        version=1,
    )
    snapshot.expires_at.FromSeconds(int(time.time()) + _TTL_S)
    return snapshot


def seed(redis_url: str, services: Sequence[Service], grants: Sequence[Sequence[Service]]) -> list[str]:
    """One API key for each of `grants`, which are the services that it may call; the keys."""
    return [grant.secret for grant in seed_grants(redis_url, services, grants)]


def seed_grants(
    redis_url: str, services: Sequence[Service], grants: Sequence[Sequence[Service]]
) -> list[Grant]:
    """As `seed`, with the ids of keys and consumers."""
    seeded = []
    with redis.Redis.from_url(redis_url) as client, client.pipeline(transaction=False) as pipe:
        for service in services:
            data = service.snapshot().SerializeToString()
            for name in (service.slug, service.service_id):
                pipe.set(service_snapshot_key(name), data, ex=_TTL_S)
        for number, granted in enumerate(grants):
            key = apikeys.generate()
            snapshot = key_snapshot(key, granted)
            pipe.set(key_snapshot_key(key.sha256), snapshot.SerializeToString(), ex=_TTL_S)
            seeded.append(Grant(key.secret, snapshot.key_id, snapshot.consumer_id))
            if number % 1000 == 999:
                pipe.execute()
        pipe.execute()
    return seeded


def redis_pid(redis_url: str) -> int:
    """The server's process, so that its share of a request's cost can be seen."""
    with redis.Redis.from_url(redis_url) as client:
        return int(client.info("server")["process_id"])


def new_slug(name: str) -> str:
    """Unlike that of any other run on the same Redis."""
    return f"{name}-{secrets.token_hex(4)}"
