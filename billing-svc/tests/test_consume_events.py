"""Events from a real Kafka: their effects are applied once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from aiokafka import AIOKafkaProducer
from ams.catalog.v1.events_pb2 import CatalogEvent
from ams.usage.v1.events_pb2 import UsageDelta
from ams_common import topics
from ams_common.consumer import EventConsumer
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.testing.eventually import eventually
from billing_svc.event_handlers import SUBSCRIPTIONS
from billing_svc.testing import Billing, PricedService, price_started, service_changed, usage_delta
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

    async def usage(self, *deltas: UsageDelta) -> None:
        for delta in deltas:
            await self.send(topics.USAGE_AGGREGATED, delta.consumer_id, delta)


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


async def counted(billing: Billing) -> tuple[int, int, int, int]:
    (row,) = await billing.rows(
        "SELECT coalesce(sum(requests), 0)::bigint, coalesce(sum(billable_requests), 0)::bigint,"
        " coalesce(sum(request_bytes), 0)::bigint, coalesce(sum(response_bytes), 0)::bigint"
        " FROM billing_counters"
    )
    return tuple(row)


async def test_a_delta_counts_once_though_it_comes_twice_and_the_consumer_restarts(
    billing: Billing,
    database: Database,
    publisher: Publisher,
    kafka_bootstrap: str,
    topic_prefix: str,
) -> None:
    priced, consumer_id = PricedService(uuid7(), uuid7(), uuid7()), uuid7()
    deltas = [usage_delta(priced, consumer_id, n, requests=n + 1) for n in (1, 2, 3)]
    expected = (9, 6, 90, 900)

    async def applied(count: int) -> bool:
        rows = await billing.rows("SELECT count(*) AS n FROM applied_deltas")
        return bool(rows[0]["n"] == count)

    await publisher.usage(*deltas, *deltas)
    await publisher.send(topics.CATALOG_EVENTS, "none", CatalogEvent())
    async with consuming(database, kafka_bootstrap, topic_prefix):
        await eventually(lambda: applied(3))
    await publisher.usage(deltas[1], usage_delta(priced, consumer_id, 10))
    async with consuming(database, kafka_bootstrap, topic_prefix):
        await eventually(lambda: applied(4))
    assert await counted(billing) == (
        expected[0] + 10,
        expected[1] + 10,
        expected[2] + 100,
        expected[3] + 1000,
    )


async def test_a_malformed_message_is_set_aside_and_the_next_is_applied(
    billing: Billing,
    database: Database,
    publisher: Publisher,
    kafka_bootstrap: str,
    topic_prefix: str,
) -> None:
    priced, consumer_id = PricedService(uuid7(), uuid7(), uuid7()), uuid7()
    wrong = [usage_delta(priced, consumer_id, 1) for _ in range(6)]
    wrong[0].period = "2026-13"
    wrong[1].service_id = "weather"
    wrong[2].requests = -1
    wrong[3].billable_requests = 2
    wrong[4].delta_id = ""
    wrong[5].ClearField("price_version_id")
    key = str(consumer_id)
    good = usage_delta(priced, consumer_id, 5)
    await publisher.send(topics.USAGE_AGGREGATED, key, b"\xff\xff", *wrong, good)
    service_id, at = uuid7(), datetime(2026, 1, 1, tzinfo=UTC)
    bad_prices = [
        price_started(uuid7(), service_id, Decimal("-1"), "EUR", at),
        price_started(uuid7(), service_id, Decimal(1), "XXX", at),
        price_started(uuid7(), service_id, Decimal(10) ** 12, "EUR", at),
    ]
    nameless = service_changed(uuid7(), uuid7(), "", at)
    fine = service_changed(service_id, uuid7(), "Fine", at)
    await publisher.send(topics.CATALOG_EVENTS, "same", *bad_prices, nameless, fine)

    async def done() -> bool:
        services = await billing.rows("SELECT FROM services")
        return bool((await counted(billing))[0] and services)

    async with consuming(database, kafka_bootstrap, topic_prefix):
        await eventually(done)
    assert await counted(billing) == (5, 5, 50, 500)
    assert await billing.rows("SELECT FROM price_versions") == []
    letters = await billing.rows(
        "SELECT topic, count(*) AS n FROM dead_letters GROUP BY topic ORDER BY topic"
    )
    assert [(row["topic"].removeprefix(topic_prefix), row["n"]) for row in letters] == [
        (topics.CATALOG_EVENTS, 4),
        (topics.USAGE_AGGREGATED, 7),
    ]
