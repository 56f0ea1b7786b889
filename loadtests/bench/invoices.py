"""How long the monthly run takes, and how much memory.

.venv/bin/python -m ams_local exec --tests -- .venv/bin/python -m loadtests.bench.invoices

Fills billing-svc's database with a month's counters, lets the real process draft them, and then bills the
month with `billing-svc run-month`, from its start to its end. A second run must find nothing to do, and
`billing-svc check` nothing that is broken. Needs DATABASE_URL (an administrator's).
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import asyncpg
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.migrations import migrate
from ams_rating.prices import Component, Graduated, Meter, MonthlyFee, PerUnit, Price, Tier
from billing_svc.__main__ import ensure_commission_rate
from billing_svc.drafting import refresh_drafts
from billing_svc.store import Store
from billing_svc.testing import Events

from loadtests.support.databases import fresh_database
from loadtests.support.processes import cpu_s, rss_bytes

MONTH, NOW = "2026-10", datetime(2026, 11, 4, 1, tzinfo=UTC)
AIM_S = 60.0
TIERS = (Tier(50, Decimal(0)), Tier(500, Decimal("0.002")), Tier(None, Decimal("0.001")))
PRICES = (
    Price("EUR", (Component(Meter.REQUESTS, PerUnit(Decimal("0.0025"))),)),
    Price("EUR", (Component(Meter.REQUESTS, Graduated(TIERS)), Component(None, MonthlyFee(Decimal(5))))),
    Price("USD", (Component(Meter.RESPONSE_MEGABYTES, PerUnit(Decimal("0.09"))),)),
)
# Each consumer of a merchant used its service on the same number of days, a tenth of them with 4xx too.
FILL = """
INSERT INTO usage_counters (
    day, merchant_id, consumer_id, project_id, api_key_id, service_id, charge_class,
    events, requests, request_bytes, response_bytes, last_offsets
)
SELECT DATE '2026-10-01' + day, merchant_id, consumer_id, NULL, consumer_id, service_id, class, 101,
       1 + (random() * 100)::int, 50000, 500000,
       jsonb_build_object('bench/' || hashtext(consumer_id::text) % 4, (random() * 1000000)::int)
  FROM unnest($1::uuid[], $2::uuid[]) AS service (merchant_id, service_id)
  CROSS JOIN unnest($3::uuid[]) AS consumer_id
  CROSS JOIN generate_series(0, $4::int - 1) AS day
  CROSS JOIN unnest(ARRAY['served', 'client_error']) AS class
 WHERE class = 'served' OR day % 10 = 0
"""
MARK = (
    "INSERT INTO draft_marks (merchant_id, consumer_id, month)"
    " SELECT DISTINCT merchant_id, consumer_id, $1 FROM usage_counters"
)


async def fill(url: str, merchants: int, consumers: int, days: int) -> int:
    """Counters of merchants with a service each and consumers who use all of them; how many counters."""
    async with Database.open(url, Store) as database:
        await ensure_commission_rate(database, Decimal("0.1"))
        events = Events(database)
        services = [await events.priced_service(PRICES[number % len(PRICES)]) for number in range(merchants)]
    connection = await asyncpg.connect(url)
    try:
        consumer_ids = [uuid7() for _ in range(consumers)]
        for start in range(0, merchants, 50):
            some = services[start : start + 50]
            merchant_ids, service_ids = zip(*((s.merchant_id, s.service_id) for s in some), strict=True)
            await connection.execute(FILL, list(merchant_ids), list(service_ids), consumer_ids, days)
        await connection.execute(MARK, MONTH)
        await connection.execute("VACUUM ANALYZE")
        count: int = await connection.fetchval("SELECT count(*) FROM usage_counters")
    finally:
        await connection.close()
    return count


async def database_cpu_s(url: str, ended: asyncio.Event) -> float:
    """CPU time of the sessions of a database until `ended`, but for the one that asks."""
    used: dict[int, float] = {}
    connection = await asyncpg.connect(url)
    try:
        while not ended.is_set():
            rows = await connection.fetch(
                "SELECT pid FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            for row in rows:
                with contextlib.suppress(OSError, ValueError, IndexError):
                    used[row["pid"]] = cpu_s(row["pid"])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), 0.25)
    finally:
        await connection.close()
    return sum(used.values())


@dataclass
class Watched:
    """A command that has ended: how long it took, its CPU time, and its memory as it went."""

    returncode: int
    seconds: float
    cpu_s: float
    rss_mb: list[float] = field(default_factory=list)


def watch(environ: Mapping[str, str], *arguments: str) -> Watched:
    began_s = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "billing_svc", *arguments], env={**os.environ, **environ}
    )
    found, ended = Watched(0, 0, 0), threading.Event()

    def sample() -> None:
        while not ended.wait(0.25):
            try:
                found.rss_mb.append(rss_bytes(process.pid) / 1e6)
                found.cpu_s = cpu_s(process.pid)
            except (OSError, ValueError, IndexError):
                return

    sampler = threading.Thread(target=sample)
    sampler.start()
    found.returncode = process.wait()
    found.seconds = time.monotonic() - began_s
    ended.set()
    sampler.join()
    return found


async def measure(merchants: int, consumers: int, days: int) -> None:
    pairs = merchants * consumers
    async with fresh_database(os.environ["DATABASE_URL"], "billing") as url:
        await migrate(url, "billing_svc")
        counters = await fill(url, merchants, consumers, days)
        print(
            f"{pairs:,} pairs of {merchants:,} merchants and {consumers:,} consumers, {counters:,} counters"
        )
        began_s = time.monotonic()
        async with Database.open(url, Store) as database:
            await refresh_drafts(database, NOW)
        print(f"drafts: {time.monotonic() - began_s:.1f} s")
        environ = {
            "BILLING_DATABASE_URL": url,
            "BILLING_LISTEN": "127.0.0.1:0",
            "IDENTITY_ADDRESS": "127.0.0.1:1",
            "USAGE_ADDRESS": "127.0.0.1:1",
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "LOG_LEVEL": "WARNING",
        }
        ended = asyncio.Event()
        sessions = asyncio.ensure_future(database_cpu_s(url, ended))
        run = await asyncio.to_thread(watch, environ, "run-month", MONTH)
        ended.set()
        postgres_cpu_s = await sessions
        middle = run.rss_mb[len(run.rss_mb) // 4] if run.rss_mb else 0.0
        rate_per_s = pairs / run.seconds
        verdict = "reached" if run.returncode == 0 and 100_000 / rate_per_s <= AIM_S else "MISSED"
        print(
            f"monthly run: {run.seconds:.1f} s, {rate_per_s:,.0f} invoices/s (aim: 100,000 in {AIM_S:.0f} s,"
            f" {verdict}); {run.cpu_s:.1f} s of CPU in billing-svc and"
            f" {postgres_cpu_s:.1f} s in PostgreSQL; memory {middle:.0f} MB after a quarter,"
            f" {max(run.rss_mb, default=0):.0f} MB at most"
        )
        again = await asyncio.to_thread(watch, environ, "run-month", MONTH)
        print(f"the same again: {again.seconds:.1f} s, exit code {again.returncode}")
        check = await asyncio.to_thread(watch, environ, "check")
        print(f"check: {check.seconds:.1f} s, exit code {check.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--merchants", type=int, default=1000)
    parser.add_argument("--consumers", type=int, default=100)
    parser.add_argument("--days", type=int, default=10, help="of use in the month")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.merchants, arguments.consumers, arguments.days))


if __name__ == "__main__":
    main()
