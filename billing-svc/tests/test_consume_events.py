"""Events from a real Kafka: their effects are applied once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import pytest
from aiokafka import AIOKafkaProducer
from ams.catalog.v1.events_pb2 import CatalogEvent
from ams.identity.v1.events_pb2 import IdentityEvent
from ams.usage.v1.events_pb2 import UsageTotal, UsageTotalBatch
from ams_common import topics
from ams_common.consumer import EventConsumer
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.testing.eventually import eventually
from billing_svc.event_handlers import SUBSCRIPTIONS
from billing_svc.testing import Billing, Group, PricedService, per_request, price_changed, service_changed
from google.protobuf.message import Message


class Publisher:
    """Publishes under the test's own topics."""

    def __init__(self, producer: AIOKafkaProducer, prefix: str) -> None:
        self._producer = producer
        self._prefix = prefix

    async def send(self, topic: str, key: str, *messages: Message | bytes) -> None:
        for message in messages:
            value = message if isinstance(message, bytes) else message.SerializeToString()
            await self._producer.send_and_wait(self._prefix + topic, value, key=key.encode())

    async def usage(self, *totals: UsageTotal) -> None:
        for delta in totals:
            await self.send(topics.USAGE_AGGREGATED, delta.consumer_id, UsageTotalBatch(totals=[delta]))


@pytest.fixture
async def publisher(kafka_bootstrap: str, topic_prefix: str) -> AsyncIterator[Publisher]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, enable_idempotence=True)
    await producer.start()
    yield Publisher(producer, topic_prefix)
    await producer.stop()


@asynccontextmanager
async def consuming(database: Database, bootstrap: str, prefix: str) -> AsyncIterator[None]:
    """The service's consumer, running meanwhile."""
    consumer = EventConsumer(database, bootstrap, "billing-svc", SUBSCRIPTIONS, prefix)
    task = asyncio.ensure_future(consumer.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def counted(billing: Billing) -> tuple[int, int, int]:
    (row,) = await billing.rows(
        "SELECT coalesce(sum(requests), 0)::bigint, coalesce(sum(request_bytes), 0)::bigint,"
        " coalesce(sum(response_bytes), 0)::bigint FROM usage_counters"
    )
    return tuple(row)


async def test_a_group_is_counted_once_though_its_totals_come_twice_and_the_consumer_restarts(
    billing: Billing,
    database: Database,
    publisher: Publisher,
    kafka_bootstrap: str,
    topic_prefix: str,
) -> None:
    group = Group(PricedService(uuid7(), uuid7(), uuid7()), uuid7())
    await publisher.usage(*[group.total(n) for n in (1, 2, 3, 1, 2, 3)])
    await publisher.send(topics.CATALOG_EVENTS, "none", CatalogEvent())
    await publisher.send(topics.IDENTITY_EVENTS, "none", IdentityEvent())

    async def is_counted(requests: int) -> bool:
        return (await counted(billing))[0] == requests

    async with consuming(database, kafka_bootstrap, topic_prefix):
        await eventually(lambda: is_counted(3))
    await publisher.usage(group.total(2), group.on("2026-11-11").total(10))
    async with consuming(database, kafka_bootstrap, topic_prefix):
        await eventually(lambda: is_counted(13))
    assert await counted(billing) == (13, 130, 1300)
    assert await billing.rows("SELECT FROM dead_letters") == []


async def test_a_topic_read_again_after_a_restore_changes_no_figure(
    billing: Billing,
    database: Database,
    publisher: Publisher,
    kafka_bootstrap: str,
    topic_prefix: str,
) -> None:
    group = Group(PricedService(uuid7(), uuid7(), uuid7()), uuid7())
    await publisher.usage(*[group.total(n) for n in range(1, 6)])

    async def has_read_all() -> bool:
        rows = await billing.rows("SELECT next_offset FROM consumer_offsets WHERE topic LIKE '%aggregated'")
        return bool(sum(row["next_offset"] for row in rows) == 5)

    for _ in range(2):
        async with consuming(database, kafka_bootstrap, topic_prefix):
            await eventually(has_read_all)
        assert await counted(billing) == (5, 50, 500)
        await billing.execute("DELETE FROM consumer_offsets")


async def test_a_malformed_message_is_set_aside_and_the_next_is_applied(
    billing: Billing,
    database: Database,
    publisher: Publisher,
    kafka_bootstrap: str,
    topic_prefix: str,
) -> None:
    group = Group(PricedService(uuid7(), uuid7(), uuid7()), uuid7())
    wrong = [group.total(1) for _ in range(7)]
    wrong[0].day = "2026-02-30"
    wrong[1].service_id = "weather"
    wrong[2].requests = -1
    wrong[3].ClearField("last_offsets")
    wrong[4].project_id = "none"
    wrong[5].ClearField("charge_class")
    wrong[6].charge_class = 99  # type: ignore[assignment]  # of a newer release
    batches = [UsageTotalBatch(totals=[total]) for total in (*wrong, group.total(5))]
    await publisher.send(topics.USAGE_AGGREGATED, str(group.consumer_id), b"\xff\xff", *batches)
    service_id, at = uuid7(), datetime(2026, 1, 1, tzinfo=UTC)
    bad_prices = [price_changed(uuid7(), service_id, per_request("1"), at) for _ in range(3)]
    bad_prices[0].price_version_changed.price.currency_code = "XXX"
    bad_prices[1].price_version_changed.price.components[0].per_unit.amount.units = -1
    bad_prices[2].price_version_changed.price.components[0].ClearField("meter")
    nameless = service_changed(uuid7(), uuid7(), "", at)
    fine = service_changed(service_id, uuid7(), "Fine", at)
    await publisher.send(topics.CATALOG_EVENTS, "same", *bad_prices, nameless, fine)

    async def done() -> bool:
        services = await billing.rows("SELECT FROM services")
        return bool((await counted(billing))[0] and services)

    async with consuming(database, kafka_bootstrap, topic_prefix):
        await eventually(done)
    assert await counted(billing) == (5, 50, 500)
    assert await billing.rows("SELECT FROM price_versions") == []
    letters = await billing.rows("SELECT topic FROM dead_letters")
    found = Counter(letter["topic"].removeprefix(topic_prefix) for letter in letters)
    assert found == {topics.CATALOG_EVENTS: 4, topics.USAGE_AGGREGATED: 8}
