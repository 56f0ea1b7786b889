"""Real billing-svc processes, killed in the middle of their work."""

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from aiokafka import AIOKafkaProducer
from ams.billing.v1 import billing_service_pb2 as pb
from ams.usage.v1.events_pb2 import UsageTotalBatch
from ams_common import topics
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from ams_common.ports import free_port
from ams_common.testing.eventually import eventually
from billing_svc.testing import (
    Billing,
    Events,
    Group,
    PricedService,
    per_request,
    price_changed,
    service_changed,
)
from google.protobuf.message import Message

# In the suite as many as take ten seconds: `make prove-counts` has 20.
KILLS = int(os.environ.get("BILLING_KILLS", "5"))


@asynccontextmanager
async def billing_process(
    environ: dict[str, str], *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m billing_svc`, gone at the end whatever happens."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "billing_svc",
        *arguments,
        env={**os.environ, **environ, "BILLING_LISTEN": f"127.0.0.1:{free_port()}"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
def environ(database_url: str, kafka_bootstrap: str, topic_prefix: str) -> dict[str, str]:
    return {
        "BILLING_DATABASE_URL": database_url,
        "BILLING_LISTEN": "127.0.0.1:0",
        "IDENTITY_ADDRESS": "127.0.0.1:1",
        "USAGE_ADDRESS": "127.0.0.1:1",
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "KAFKA_TOPIC_PREFIX": topic_prefix,
    }


class Stream:
    """What usage-svc tells of eight consumers of a service: totals that grow, some twice, some old ones."""

    def __init__(self, producer: AIOKafkaProducer, prefix: str) -> None:
        self.told: Counter[Group] = Counter()
        self._producer, self._prefix = producer, prefix
        self._priced = PricedService(uuid7(), uuid7(), uuid7())
        self._groups = [Group(self._priced, uuid7(), "2026-10-10") for _ in range(8)]

    async def offer(self) -> None:
        """The service and its price."""
        priced, at = self._priced, datetime(2026, 1, 1, tzinfo=UTC)
        for event in (
            service_changed(priced.service_id, priced.merchant_id, "Weather", at),
            price_changed(priced.price_version_id, priced.service_id, per_request("0.005"), at),
        ):
            await self._send(topics.CATALOG_EVENTS, str(priced.service_id), event)

    async def publish(self) -> None:
        """200 totals, of which every fifth comes twice and every seventh is an old one; then the latest."""
        for number in range(200):
            group = self._groups[number % 8]
            self.told[group] += 1 + number % 3
            requests = self.told[group] if number % 7 else max(self.told[group] - 5, 1)
            for _ in range(2 if number % 5 == 0 else 1):
                await self._tell(group, requests)
        for group in self._groups:
            await self._tell(group, self.told[group])
        await self._producer.flush()

    async def _tell(self, group: Group, requests: int) -> None:
        batch = UsageTotalBatch(totals=[group.total(requests)])
        await self._send(topics.USAGE_AGGREGATED, str(group.consumer_id), batch)

    async def _send(self, topic: str, key: str, message: Message) -> None:
        await self._producer.send(self._prefix + topic, message.SerializeToString(), key=key.encode())


@pytest.fixture
async def stream(kafka_bootstrap: str, topic_prefix: str) -> AsyncIterator[Stream]:
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, enable_idempotence=True) as producer:
        stream = Stream(producer, topic_prefix)
        await stream.offer()
        yield stream


async def assert_everything_is_counted_once(billing: Billing, stream: Stream) -> None:
    """Once a process that is left alone has caught up: in the counters, and by itself in the drafts."""

    async def has_drafted_all() -> bool:
        rows = await billing.rows(
            "SELECT consumer_id, quantity FROM invoices JOIN invoice_lines USING (invoice_id)"
        )
        return {row["consumer_id"]: row["quantity"] for row in rows} == {
            group.consumer_id: count for group, count in stream.told.items()
        }

    await eventually(has_drafted_all, 60)
    assert await billing.rows("SELECT FROM dead_letters") == []
    assert await counted(billing) == stream.told.total()
    for invoice in await billing.invoices():
        told = next(n for group, n in stream.told.items() if str(group.consumer_id) == invoice.consumer_id)
        assert to_decimal(invoice.subtotal) == round(told * Decimal("0.005"), 2)


async def counted(billing: Billing) -> int:
    rows = await billing.rows("SELECT coalesce(sum(requests), 0)::bigint AS n FROM usage_counters")
    return int(rows[0]["n"])


async def test_killed_in_mid_stream_it_counts_everything_once(
    billing: Billing, environ: dict[str, str], stream: Stream
) -> None:
    async with billing_process(environ) as process, billing_process(environ) as other:
        # The stream goes on until the kill, so that it falls in the middle of it.
        while await counted(billing) < 2000:
            await stream.publish()
            assert process.returncode is None
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        await stream.publish()
        other.send_signal(signal.SIGKILL)
    await stream.publish()
    async with billing_process(environ) as process:
        await assert_everything_is_counted_once(billing, stream)
        process.terminate()
        assert await process.wait() == 0


async def test_kills_with_a_second_process_coming_and_going_leave_the_counts_exact(
    billing: Billing, environ: dict[str, str], stream: Stream
) -> None:
    async with AsyncExitStack() as stack:

        async def start() -> asyncio.subprocess.Process:
            return await stack.enter_async_context(billing_process(environ))

        running = [await start()]
        while not await counted(billing):
            await stream.publish()
        for _ in range(KILLS):
            running.append(await start())
            await _publish_for(stream, random.uniform(0.2, 2.5))
            killed = running.pop(random.randrange(len(running)))
            killed.send_signal(signal.SIGKILL)
            await killed.wait()
        await stream.publish()
        await assert_everything_is_counted_once(billing, stream)


async def _publish_for(stream: Stream, seconds: float) -> None:
    """So that the kill behind it falls into a stream that goes on."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        await stream.publish()
        await asyncio.sleep(0.05)


MERCHANTS, CONSUMERS = 40, 25


async def test_a_run_killed_at_random_and_taken_up_by_two_makes_each_invoice_once(
    billing: Billing, events: Events, environ: dict[str, str]
) -> None:
    consumers = [uuid7() for _ in range(CONSUMERS)]
    for _ in range(MERCHANTS):
        priced = await events.priced_service("0.01")
        await events.usage(*[Group(priced, each, "2026-10-10").total(100) for each in consumers])

    async def issued() -> int:
        rows = await billing.rows("SELECT count(*) AS n FROM invoices WHERE status = 'issued'")
        return int(rows[0]["n"])

    async def kill_after(target: int) -> None:
        async with billing_process(environ, "run-month", "2026-10") as process:

            async def is_there() -> bool:
                return await issued() >= target or process.returncode is not None

            await eventually(is_there)
            await asyncio.sleep(random.uniform(0, 0.05))
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
                await process.wait()

    for target in (1, 150, 400):
        await kill_after(target)
        await billing.check()
    async with (
        billing_process(environ, "run-month", "2026-10") as one,
        billing_process(environ, "run-month", "2026-10") as two,
    ):
        assert (await one.wait(), await two.wait()) == (0, 0)
    assert await issued() == MERCHANTS * CONSUMERS
    rows = await billing.rows("SELECT merchant_id, max(sequence) AS last FROM invoices GROUP BY merchant_id")
    assert {row["last"] for row in rows} == {CONSUMERS}
    told = await billing.notifications()
    assert len({each.notification_id for each in told}) == len(told) == MERCHANTS * CONSUMERS
    assert {UUID(each.user_id) for each in told} == set(consumers)
    runs = await billing.rows("SELECT is_monthly, status FROM invoice_runs WHERE is_monthly")
    assert [tuple(run) for run in runs] == [(True, "done")]
    assert {invoice.status for invoice in await billing.invoices()} == {pb.INVOICE_ISSUED}
