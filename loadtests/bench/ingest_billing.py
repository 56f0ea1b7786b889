"""How long after usage-svc's last event billing-svc agrees, for `make bench-pipeline`."""

import time
from datetime import UTC, datetime

import asyncpg
from aiokafka import AIOKafkaProducer
from ams_common import topics
from billing_svc.testing import per_request, price_changed, service_changed

from loadtests.bench.ingest_stage import Bench, until
from loadtests.bench.ingest_traffic import Traffic
from loadtests.support.databases import fresh_database

AIM_S = 2.0
_MOST_S = 900.0
_PAUSE_S = 0.02
_COUNTED = "SELECT coalesce(sum(requests), 0)::bigint FROM day_totals WHERE NOT is_test"
_BILLED = "SELECT coalesce(sum(requests), 0)::bigint FROM usage_counters"
_MARKED = "SELECT EXISTS (SELECT FROM draft_marks)"


async def offer(bench: Bench, traffic: Traffic) -> None:
    """Tells billing-svc of the services and their prices, so that it drafts invoices as well."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    async with AIOKafkaProducer(bootstrap_servers=bench.servers.kafka_bootstrap_servers) as producer:
        for number, (service_id, merchant_id, version_id) in enumerate(traffic.services):
            for event in (
                service_changed(service_id, merchant_id, f"Service {number}", at),
                price_changed(version_id, service_id, per_request("0.005"), at),
            ):
                await producer.send_and_wait(
                    bench.prefix + topics.CATALOG_EVENTS,
                    event.SerializeToString(),
                    key=str(service_id).encode(),
                )


async def follow(bench: Bench) -> None:
    """Both count the topic side by side; prints how far billing-svc is behind at the end.

    To be called before any other reads the topic: what was told of its events once is told for good.
    """
    async with (
        fresh_database(bench.servers.database_url, "usage") as usage_url,
        fresh_database(bench.servers.database_url, "billing") as billing_url,
    ):
        usage, billing = await asyncpg.connect(usage_url), await asyncpg.connect(billing_url)
        with bench.billing_svc(billing_url), bench.usage_svc(usage_url):
            records = await bench.records()
            first = await until(lambda: bench.counted(usage), _MOST_S)
            began_s = time.monotonic()

            async def has_counted() -> bool:
                return await bench.counted(usage) >= records

            await until(has_counted, _MOST_S, _PAUSE_S)
            counted_s = time.monotonic()
            calls = await usage.fetchval(_COUNTED)

            async def agrees() -> bool:
                return bool(await billing.fetchval(_BILLED) == calls)

            await until(agrees, _MOST_S, _PAUSE_S)
            agreed_s = time.monotonic()

            async def has_drafted() -> bool:
                return not await billing.fetchval(_MARKED)

            await until(has_drafted, _MOST_S, _PAUSE_S)
            drafted_s = time.monotonic()
        await usage.close()
        await billing.close()
    events_per_s = bench.events * (records - first) / records / (counted_s - began_s)
    verdict = "reached" if agreed_s - counted_s <= AIM_S else "MISSED"
    print(
        f"with billing-svc beside it {events_per_s:9,.0f} events/s; behind usage-svc's last event"
        f" counters agree after {agreed_s - counted_s:.2f} s (aim {AIM_S:.0f}: {verdict}), drafts after"
        f" {drafted_s - counted_s:.2f} s",
        flush=True,
    )
