"""identity.events → merchants, and the snapshots of their services, over real Kafka."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.identity.v1.events_pb2 import (
    STANDING_ACTIVE,
    STANDING_BLOCKED,
    STANDING_SUSPENDED,
    STANDING_UNSPECIFIED,
    ConsumerChanged,
    IdentityEvent,
    MerchantChanged,
    Standing,
)
from ams_common import topics
from ams_common.consumer import EventConsumer, Subscription
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.outbox import OutboxRelay, RedisDestination
from ams_common.snapshots import service_snapshot_key
from ams_common.testing.eventually import eventually
from catalog_svc import event_handlers
from catalog_svc.event_handlers import apply_identity_events
from catalog_svc.testing import Caller, Catalog, merchant_event
from redis.asyncio import Redis

Send = Callable[[Caller, bytes], Any]


@asynccontextmanager
async def _running(coroutine: Any) -> AsyncIterator[None]:
    task = asyncio.ensure_future(coroutine)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def consumer(database: Database, kafka_bootstrap: str, topic_prefix: str) -> EventConsumer:
    subscription = Subscription(topics.IDENTITY_EVENTS, IdentityEvent, apply_identity_events)
    return EventConsumer(database, kafka_bootstrap, "catalog-svc", [subscription], topic_prefix)


@pytest.fixture
async def send(kafka_bootstrap: str, topic_prefix: str) -> AsyncIterator[Send]:
    """Publishes bytes to identity.events, keyed as identity-svc does."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
    await producer.start()

    async def publish(merchant: Caller, payload: bytes) -> None:
        key = str(merchant.user_id).encode()
        await producer.send_and_wait(topic_prefix + "identity.events", payload, key=key)

    yield publish
    await producer.stop()


def _event(merchant: Caller, standing: Standing.ValueType, name: str = "Acme") -> bytes:
    return merchant_event(merchant.user_id, name, standing).SerializeToString()


async def _has(catalog: Catalog, merchant: Caller, name: str) -> bool:
    return bool(
        await catalog.rows(
            "SELECT true FROM merchants WHERE merchant_id = $1 AND display_name = $2", merchant.user_id, name
        )
    )


async def test_a_suspended_merchants_services_leave_the_marketplace_and_the_gateway(
    catalog: Catalog, consumer: EventConsumer, send: Send, database_url: str, redis: Redis
) -> None:
    merchant = catalog.merchant()
    services = [await catalog.publish(merchant) for _ in range(2)]
    draft = await catalog.create(merchant, name="Draft")

    async def standings() -> list[Standing.ValueType]:
        keys = [service_snapshot_key(name) for s in services for name in (s.service_id, s.slug)]
        values: list[Any] = await redis.mget(keys)
        return [ServiceSnapshot.FromString(value).merchant_standing for value in values if value]

    async def shown() -> int:
        answer = await catalog.nobody().call(
            catalog.stub.ListMarketplaceServices, pb.ListMarketplaceServicesRequest()
        )
        return len(answer.services)

    async with AsyncExitStack() as stack:
        relay = OutboxRelay(database_url, RedisDestination(redis))
        await stack.enter_async_context(_running(relay.run()))
        await stack.enter_async_context(_running(consumer.run()))
        for standing, visible in (
            (STANDING_UNSPECIFIED, 0),
            (STANDING_ACTIVE, 2),
            (STANDING_SUSPENDED, 0),
            (STANDING_ACTIVE, 2),
        ):
            await send(merchant, _event(merchant, standing))

            async def arrived(standing: Standing.ValueType = standing) -> bool:
                return await standings() == [standing] * 4

            await eventually(arrived)
            assert await shown() == visible
            listed = await catalog.admin().call(
                catalog.stub.ListServices, pb.ListServicesRequest(merchant_id=str(merchant.user_id))
            )
            assert {service.merchant_standing for service in listed.services} == {standing}
    assert await redis.get(service_snapshot_key(draft.service_id)) is None


async def test_the_same_event_twice_and_a_restart_take_effect_once(
    catalog: Catalog, consumer: EventConsumer, send: Send
) -> None:
    merchant, other = catalog.merchant(), catalog.merchant()
    service = await catalog.publish(merchant)
    active = _event(merchant, STANDING_ACTIVE)
    async with _running(consumer.run()):
        await send(merchant, active)
        await send(merchant, active)
        await send(other, _event(other, STANDING_ACTIVE, "First"))
        await eventually(lambda: _has(catalog, other, "First"))
        await eventually(lambda: _has(catalog, merchant, "Acme"))
    async with _running(consumer.run()):
        await send(merchant, active)
        await send(merchant, _event(merchant, STANDING_ACTIVE, "Acme 2"))
        await eventually(lambda: _has(catalog, merchant, "Acme 2"))
    # One from the approval, one from the merchant's arrival: its new name is in none.
    assert len(await catalog.snapshots(service.service_id)) == 2


async def test_messages_that_cannot_be_read_are_put_aside_and_the_next_is_processed(
    catalog: Catalog, consumer: EventConsumer, send: Send
) -> None:
    merchant = catalog.merchant()
    bad = [
        b"\xff\xff\xff",
        IdentityEvent(merchant_changed=MerchantChanged(merchant_id="no id")).SerializeToString(),
        IdentityEvent(
            merchant_changed=MerchantChanged(merchant_id=str(uuid7()), standing=99)  # type: ignore[arg-type]
        ).SerializeToString(),
        # Another merchant's: of one's, the last name that comes is all that counts.
        _event(catalog.merchant(), STANDING_ACTIVE, "a\x00b"),
    ]
    for payload in bad:
        await send(merchant, payload)
    await send(merchant, _event(merchant, STANDING_ACTIVE, "Good"))
    async with _running(consumer.run()):
        await eventually(lambda: _has(catalog, merchant, "Good"))
    dead = await catalog.rows("SELECT payload FROM dead_letters ORDER BY message_offset")
    assert [row["payload"] for row in dead] == bad
    assert len(await catalog.rows("SELECT FROM merchants")) == 1


async def test_events_about_others_are_passed_over(catalog: Catalog) -> None:
    event = IdentityEvent(
        consumer_changed=ConsumerChanged(consumer_id=str(uuid7()), standing=STANDING_BLOCKED)
    )
    before = await catalog.state()
    async with catalog.database.change_by_system("test", audited=False) as change:
        await apply_identity_events(change, [event, IdentityEvent()])
    assert await catalog.state() == before


async def test_of_several_events_about_a_merchant_the_last_holds(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.publish(merchant)
    events = [
        merchant_event(merchant.user_id, standing=standing)
        for standing in (STANDING_ACTIVE, STANDING_SUSPENDED, STANDING_ACTIVE, STANDING_SUSPENDED)
    ]
    async with catalog.database.change_by_system("test", audited=False) as change:
        await apply_identity_events(change, events)
    snapshots = await catalog.snapshots(service.service_id)
    assert [s.merchant_standing for s in snapshots] == [STANDING_UNSPECIFIED, STANDING_SUSPENDED]


async def test_all_services_are_rewritten_when_they_are_more_than_a_batch(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_handlers, "SNAPSHOT_BATCH", 2)
    merchant = await catalog.known_merchant()
    services = [await catalog.publish(merchant) for _ in range(4)]
    await catalog.tell_merchant(merchant, standing=STANDING_SUSPENDED)
    for service in services:
        for name in (service.service_id, service.slug):
            assert (await catalog.snapshots(name))[-1].merchant_standing == STANDING_SUSPENDED


async def test_no_snapshot_misses_a_suspension_that_comes_at_the_same_moment(catalog: Catalog) -> None:
    admin = catalog.admin()
    for turn in range(8):
        merchant = catalog.merchant() if turn % 2 else await catalog.known_merchant()
        submitted = await catalog.submit(merchant)
        await asyncio.gather(
            admin.call(
                catalog.stub.ApproveService, pb.ApproveServiceRequest(service_id=submitted.service_id)
            ),
            catalog.tell_merchant(merchant, standing=STANDING_SUSPENDED),
        )
        last = (await catalog.snapshots(submitted.service_id))[-1]
        assert last.merchant_standing == STANDING_SUSPENDED
