"""Exact to the request: what reached merchants is what is stored, rolled up, counted and billed, and
reconciliation says so."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from ams_common import ports
from ams_common.testing.eventually import eventually
from ams_local.kafka import Kafka
from ams_local.rest import People
from support.invariants import broken_invariants
from support.running_system import ADMIN_EMAIL, BEHIND_THE_GATEWAY, RunningSystem, running
from support.trade import Trade, consume, open_trade
from support.upstream_api import Upstream

REQUESTS = 500
AT_A_TIME = 32
# Every this many-th request is one that has to be refused.
REFUSED_EVERY = 5
UNIT_PRICE_NANOS = 5_000_000
FIGURES = ("forwarded", "recorded", "rated", "invoiced")


@dataclass(frozen=True, slots=True)
class Figures:
    """One number of requests, as each place has it."""

    raw: int
    minutes: int
    hours: int
    days: int
    counters: int
    invoiced: int


async def total(url: str, sql: str, service_id: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        value: int = await connection.fetchval(sql, service_id)
        return value
    finally:
        await connection.close()


RAW = "SELECT count(*) FROM usage_events JOIN series USING (series_id) WHERE service_id = $1"
ROLLED_UP = """
SELECT coalesce(sum(requests), 0)::bigint FROM rollups_by_{} JOIN series USING (series_id)
WHERE service_id = $1"""


async def figures(system: RunningSystem, trade: Trade) -> Figures:
    usage, billing = system.database_urls["usage"], system.database_urls["billing"]
    service_id = trade.service["serviceId"]
    period = f"{datetime.now(UTC):%Y-%m}"
    made = (await trade.merchant.get("/merchant/invoices", period=period)).get("invoices", [])
    lines = [line for invoice in made for line in invoice["lines"]]
    for invoice in made:
        assert cents(invoice["subtotal"]) == cents(invoice["commission"]) + cents(invoice["total"])
        assert cents(invoice["subtotal"]) == round_half_even_cents(int(invoice["lines"][0]["quantity"]))
    return Figures(
        raw=await total(usage, RAW, service_id),
        minutes=await total(usage, ROLLED_UP.format("minute"), service_id),
        hours=await total(usage, ROLLED_UP.format("hour"), service_id),
        days=await total(usage, ROLLED_UP.format("day"), service_id),
        counters=await total(
            billing,
            "SELECT coalesce(sum(requests), 0)::bigint FROM usage_counters WHERE service_id = $1",
            service_id,
        ),
        invoiced=sum(int(line["quantity"]) for line in lines),
    )


def cents(money: dict[str, object]) -> int:
    """A protobuf Money as whole cents; it must have no fraction of one."""
    nanos = int(str(money["units"])) * 10**9 + int(str(money["nanos"]))
    assert nanos % 10**7 == 0
    return nanos // 10**7


def round_half_even_cents(quantity: int) -> int:
    """0.005 EUR a request, worked out without the code under test."""
    half_cents = quantity
    whole, half = divmod(half_cents, 2)
    return whole + (half if whole % 2 else 0)


async def send_load(http: aiohttp.ClientSession, system: RunningSystem, trade: Trade) -> Counter[int]:
    """REQUESTS calls, AT_A_TIME at once, some of them to be refused; how often each status came."""
    gate = asyncio.Semaphore(AT_A_TIME)
    service_id = trade.service["serviceId"]

    async def send(number: int) -> int:
        async with gate:
            if number % REFUSED_EVERY:
                return (await consume(http, system.gateway_url, trade.secret, service_id)).status
            kind = number // REFUSED_EVERY % 3
            secret = ("", "ams_live_wrong", trade.secret)[kind]
            return (
                await consume(
                    http, system.gateway_url, secret, "another-service" if kind == 2 else service_id
                )
            ).status

    return Counter(await asyncio.gather(*(send(number) for number in range(REQUESTS))))


async def settles_at(system: RunningSystem, trade: Trade, forwarded: int, timeout_s: float) -> None:
    """Waits until every place has `forwarded`, and that none goes past it; no invariant is broken then."""
    expected = Figures(*[forwarded] * 6)

    async def settled() -> bool:
        now = await figures(system, trade)
        assert all(getattr(now, name) <= forwarded for name in Figures.__slots__), (
            f"{now} is more than {forwarded}"
        )
        return now == expected

    try:
        await eventually(settled, timeout_s)
    except TimeoutError as error:
        raise AssertionError(f"{await figures(system, trade)}, not {forwarded}") from error
    await asyncio.sleep(1)  # whatever would still be counted twice has time to come
    assert await figures(system, trade) == expected
    await reconciles_at(system, trade, forwarded, timeout_s)
    assert await broken_invariants(system.database_urls) == []


async def reconciles_at(system: RunningSystem, trade: Trade, forwarded: int, timeout_s: float) -> None:
    """Waits until all of it is invoiced, and each party's days say so: four equal figures, the first by the
    gateway's own count, and nothing that differs."""
    await issue_up_to_now(system, trade.service["merchantId"])
    today = datetime.now(UTC).date()
    days = {"firstDay": str(today - timedelta(days=1)), "lastDay": str(today)}
    asked: dict[str, Any] = {
        "merchant": (trade.merchant, {"role": "MERCHANT"}),
        "consumer": (trade.consumer, {"role": "CONSUMER"}),
        "admin": (trade.admin, {"role": "ADMIN", "merchantId": trade.service["merchantId"]}),
    }
    found: dict[str, Any] = {}

    async def agree() -> bool:
        for name, (rest, fields) in asked.items():
            found[name] = (await rest.get("/reconciliation", **days, **fields))["days"]
        return all(
            [sum(int(day[figure]) for day in of_party) for figure in FIGURES] == [forwarded] * 4
            and all(day["isReconciled"] and not day["differences"] for day in of_party)
            and all(same(day["requestBytes"]) and same(day["responseBytes"]) for day in of_party)
            for of_party in found.values()
        )

    try:
        await eventually(agree, timeout_s)
    except TimeoutError as error:
        raise AssertionError(f"{found}, not {forwarded}") from error


async def issue_up_to_now(system: RunningSystem, merchant_id: str) -> None:
    """Asks billing-svc for invoices of today too, as no RPC can: it refuses a day that isn't over."""
    connection = await asyncpg.connect(system.database_urls["billing"])
    try:
        await connection.execute(
            "INSERT INTO invoice_runs (invoice_run_id, last_day, merchant_id, is_monthly, created_at)"
            " VALUES (gen_random_uuid(), $1, $2, false, now())",
            datetime.now(UTC).date(),
            merchant_id,
        )
    finally:
        await connection.close()


def same(figures: dict[str, str]) -> bool:
    """Whether some bytes are all recorded, rated and invoiced, and any are."""
    return len(set(figures.values())) == 1 and int(figures["recorded"]) > 0


async def test_every_figure_is_the_number_of_forwarded_requests(
    system: RunningSystem, people: People, upstream: Upstream, http: aiohttp.ClientSession
) -> None:
    trade = await open_trade(people, ADMIN_EMAIL, upstream.base_url, secrets.token_hex(4))
    statuses = await send_load(http, system, trade)
    assert statuses[200] == len(upstream.received) == REQUESTS - REQUESTS // REFUSED_EVERY
    assert set(statuses) == {200, 401, 403}
    await settles_at(system, trade, len(upstream.received), timeout_s=20)


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[Kafka]:
    """A broker of this test's own, for it will be stopped and started."""
    port, controller_port = ports.free_ports(2)
    kafka = Kafka(tmp_path, port, controller_port, throwaway=True)
    kafka.launch()
    kafka.wait()
    yield kafka
    kafka.stop()


@pytest.fixture
def own_system(admin_database_url: str, redis_url: str, kafka: Kafka) -> Iterator[RunningSystem]:
    with running(admin_database_url, redis_url, kafka.bootstrap_servers) as system:
        yield system


async def test_every_figure_is_exact_though_services_are_killed_and_kafka_restarts(
    own_system: RunningSystem, kafka: Kafka, upstream: Upstream, http: aiohttp.ClientSession
) -> None:
    system = own_system
    people = system.people(http)
    trade = await open_trade(people, ADMIN_EMAIL, upstream.base_url, secrets.token_hex(4))

    async def disturb() -> None:
        for name in ("usage-svc", "billing-svc"):
            await asyncio.to_thread(system.kill, name)
            await asyncio.to_thread(system.start, name)
        await asyncio.to_thread(kafka.stop)

    statuses: Counter[int] = Counter()
    disturbance = asyncio.create_task(disturb())
    while not disturbance.done():
        statuses += await send_load(http, system, trade)
    await disturbance
    statuses += await send_load(http, system, trade)  # Kafka is away: the journal keeps what is metered
    await asyncio.to_thread(kafka.launch)
    await asyncio.to_thread(kafka.wait)
    for name in ("billing-svc", "usage-svc"):  # and once more, while they catch up
        await asyncio.to_thread(system.kill, name)
        await asyncio.to_thread(system.start, name)
    assert set(statuses) == {200, 401, 403}
    assert statuses[200] == len(upstream.received)
    await settles_at(system, trade, len(upstream.received), timeout_s=60)


async def test_the_gateway_serves_on_while_every_service_behind_it_is_down(
    own_system: RunningSystem, upstream: Upstream, http: aiohttp.ClientSession
) -> None:
    system = own_system
    people = system.people(http)
    trade = await open_trade(people, ADMIN_EMAIL, upstream.base_url, secrets.token_hex(4))
    assert (await consume(http, system.gateway_url, trade.secret, trade.service["slug"])).status == 200
    for name in BEHIND_THE_GATEWAY:
        await asyncio.to_thread(system.kill, name)
    statuses = [
        (await consume(http, system.gateway_url, trade.secret, trade.service["slug"])).status
        for _ in range(50)
    ]
    assert statuses == [200] * 50
    for name in BEHIND_THE_GATEWAY:
        await asyncio.to_thread(system.start, name)
    await settles_at(system, trade, 51, timeout_s=60)
