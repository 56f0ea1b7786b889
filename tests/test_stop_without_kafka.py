"""A block and a suspension reach the snapshots that the gateways serve from while Kafka is away."""

import secrets
from collections.abc import Iterator

import pytest
from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_BLOCKED, STANDING_SUSPENDED
from ams.keys.v1.events_pb2 import KeySnapshot
from ams_common.apikeys import hash_key
from ams_common.snapshots import key_snapshot_key, service_snapshot_key
from ams_common.testing.eventually import eventually
from ams_local.rest import People
from redis.asyncio import Redis
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.trade import Trade, open_trade
from support.upstream_api import Upstream

WITHOUT_KAFKA = ("identity-svc", "catalog-svc", "keys-svc")


@pytest.fixture
async def trade(people: People, upstream: Upstream) -> Trade:
    return await open_trade(people, ADMIN_EMAIL, upstream.base_url, secrets.token_hex(4))


@pytest.fixture
def kafka_is_away(trade: Trade, system: RunningSystem) -> Iterator[None]:
    """Who tells of standing and who follows it find no broker, once the trade has been set up."""
    for name in WITHOUT_KAFKA:
        system.restart(name, KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    yield
    for name in WITHOUT_KAFKA:
        system.restart(name)


async def test_stopping_somebody_does_not_wait_for_kafka(
    trade: Trade, kafka_is_away: None, redis: Redis
) -> None:
    key_hash = hash_key(trade.secret)
    assert key_hash is not None

    async def standings() -> tuple[int, int]:
        key, service = await redis.mget(
            key_snapshot_key(key_hash), service_snapshot_key(trade.service["slug"])
        )
        assert isinstance(key, bytes)
        assert isinstance(service, bytes)
        return (
            KeySnapshot.FromString(key).consumer_standing,
            ServiceSnapshot.FromString(service).merchant_standing,
        )

    consumer = f"/consumers/{trade.key['consumerId']}"
    merchant = f"/merchants/{trade.service['merchantId']}"

    async def stopped() -> bool:
        return await standings() == (STANDING_BLOCKED, STANDING_SUSPENDED)

    async def resumed() -> bool:
        return await standings() == (STANDING_ACTIVE, STANDING_ACTIVE)

    await trade.admin.post_eventually(f"{consumer}:block", reason="test")
    await trade.admin.post_eventually(f"{merchant}:suspend", reason="test")
    await eventually(stopped)
    await trade.admin.post(f"{consumer}:unblock", reason="test")
    await trade.admin.post(f"{merchant}:reinstate", reason="test")
    await eventually(resumed)
