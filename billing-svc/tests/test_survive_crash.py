"""A real billing-svc process, killed in the middle of its work."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal

from aiokafka import AIOKafkaProducer
from ams_common import topics
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from ams_common.ports import free_port
from ams_common.testing.eventually import eventually
from billing_svc.testing import Billing, PricedService, price_started, service_changed, usage_delta


@asynccontextmanager
async def billing_process(environ: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m billing_svc`, gone at the end whatever happens."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "billing_svc", env={**os.environ, **environ}, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_killed_in_mid_stream_it_counts_every_delta_once(
    billing: Billing, database_url: str, kafka_bootstrap: str, topic_prefix: str
) -> None:
    environ = {
        "BILLING_DATABASE_URL": database_url,
        "BILLING_LISTEN": f"127.0.0.1:{free_port()}",
        "IDENTITY_ADDRESS": "127.0.0.1:1",
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "KAFKA_TOPIC_PREFIX": topic_prefix,
    }
    priced, at = PricedService(uuid7(), uuid7(), uuid7()), datetime(2026, 1, 1, tzinfo=UTC)
    consumers = [uuid7() for _ in range(8)]
    published: dict[str, tuple[str, int]] = {}  # by delta id: who, and how many billable requests

    async def applied() -> int:
        rows = await billing.rows("SELECT count(*) AS n FROM applied_deltas")
        return int(rows[0]["n"])

    async def has_applied_all() -> bool:
        has_price = bool(await billing.rows("SELECT FROM price_versions, services"))
        return await applied() == len(published) and has_price

    async def publish(producer: AIOKafkaProducer) -> None:
        """200 new deltas, of which every fifth comes twice."""
        for number in range(200):
            consumer_id, billable = consumers[number % 8], 1 + number % 3
            delta = usage_delta(priced, consumer_id, billable)
            published[delta.delta_id] = (str(consumer_id), billable)
            for _ in range(2 if number % 5 == 0 else 1):
                topic, value = topic_prefix + topics.USAGE_AGGREGATED, delta.SerializeToString()
                await producer.send(topic, value, key=delta.consumer_id.encode())
        await producer.flush()

    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, enable_idempotence=True) as producer:
        for event in (
            service_changed(priced.service_id, priced.merchant_id, "Weather", at),
            price_started(priced.price_version_id, priced.service_id, Decimal("0.005"), "EUR", at),
        ):
            topic, key = topic_prefix + topics.CATALOG_EVENTS, str(priced.service_id).encode()
            await producer.send(topic, event.SerializeToString(), key=key)
        async with billing_process(environ) as process:
            # The stream goes on until the kill, so that it falls in the middle of it.
            while await applied() < 1000:
                await publish(producer)
                assert process.returncode is None
            await publish(producer)
            process.send_signal(signal.SIGKILL)
            assert await process.wait() == -signal.SIGKILL
        for _ in range(3):
            await publish(producer)
        assert 1000 <= await applied() < len(published)

    async with billing_process(environ) as process:
        await eventually(has_applied_all, 60)
        process.terminate()
        assert await process.wait() == 0

    quantities: Counter[str] = Counter()
    for consumer, billable in published.values():
        quantities[consumer] += billable
    invoices = await billing.generate()
    assert {invoice.consumer_id: invoice.lines[0].quantity for invoice in invoices} == quantities
    for invoice in invoices:
        quantity = quantities[invoice.consumer_id]
        assert to_decimal(invoice.subtotal) == round(quantity * Decimal("0.005"), 2)
    assert await billing.rows("SELECT FROM dead_letters") == []
