"""`make prove-counts`: whatever is killed, every answered call is counted exactly once.

    PYTHONPATH=tests python -m loadtests.proofs.counts [--kills N] [--counter-kills N] [--seed N] [--rate N]

The whole system on servers of its own, with two gateway workers, is called without pause while one after
the other is killed (SIGKILL) and started again: a gateway worker, Kafka, Redis, keys-svc and PostgreSQL,
--kills in all, and usage-svc and billing-svc, --counter-kills in all, each with a second instance that joins
before one kill and leaves before the next. The order is drawn from the seed. Afterwards the accounts are held
against each other: the caller's answers, the upstream's own log, the events of usage.events and their numbers
in the journals, what gateways say they have forwarded, and what usage-svc counted, told and billing-svc
counted of it and drafted by itself. Then no invariant of either may be broken. Exits with 1 when they
differ, or when a kill stopped the calls for longer than --pause.
"""

import argparse
import asyncio
import contextlib
import os
import random
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import aiohttp
import asyncpg
from ams.usage.v1.events_pb2 import UNCHARGED, ForwardedTotal, UsageEvent, UsageTotalBatch
from ams_common.testing.eventually import eventually
from ams_local.execution import end_on_signals
from ams_local.paths import throwaway_directory
from support.invariants import broken_invariants
from support.running_system import ADMIN_EMAIL, RunningSystem, running
from support.trade import open_trade
from usage_svc.events import charge_class_of

from loadtests.proofs.accounts import Accounts, differences, misforwarded, told_requests
from loadtests.proofs.killable_servers import Servers
from loadtests.proofs.numbered_calls import Caller, Upstream
from loadtests.proofs.second_instances import SecondInstances
from loadtests.proofs.usage_topic import read_topic, read_values

VICTIMS = ("worker", "Kafka", "Redis", "keys-svc", "PostgreSQL")
COUNTERS = ("usage-svc", "billing-svc")
WORKERS = 2
# Between two kills, so that each falls into calls.
CALLS_BETWEEN = 60
SETTLE_S = 90


def kill_worker(system: RunningSystem, chosen: random.Random) -> None:
    """One of them, once they are complete: the one that was killed before has to be replaced first."""
    deadline_s = time.monotonic() + 30
    while len(workers := _workers(system.process_id("ams-gateway"))) < WORKERS:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"only {len(workers)} of {WORKERS} workers run")
        time.sleep(0.1)
    os.kill(chosen.choice(workers), signal.SIGKILL)


def _workers(pid: int) -> list[int]:
    """The children of the gateway's process, but for the one that Python has for itself."""
    workers = []
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            # A zombie has no command any more.
            if command and b"resource_tracker" not in command:
                workers.append(child)
    return workers


def kill_service(system: RunningSystem, name: str) -> None:
    system.kill(name)
    system.start(name)


async def disturb(
    system: RunningSystem,
    servers: Servers,
    caller: Caller,
    chosen: random.Random,
    options: argparse.Namespace,
) -> dict[str, float]:
    """The longest pause between two answers, by who was killed before it."""
    how: dict[str, Callable[[], None]] = {
        "worker": lambda: kill_worker(system, chosen),
        "Kafka": servers.kill_kafka,
        "Redis": servers.kill_redis,
        "keys-svc": lambda: kill_service(system, "keys-svc"),
        "PostgreSQL": servers.kill_postgres,
        "usage-svc": lambda: kill_service(system, "usage-svc"),
        "billing-svc": lambda: kill_service(system, "billing-svc"),
    }
    victims = [VICTIMS[number % len(VICTIMS)] for number in range(options.kills)]
    victims += [COUNTERS[number % len(COUNTERS)] for number in range(options.counter_kills)]
    chosen.shuffle(victims)
    pauses = dict.fromkeys(how, 0.0)
    seconds = SecondInstances(system)
    try:
        for number, victim in enumerate(victims, 1):
            begun_s = time.monotonic()
            changed = ""
            if victim in COUNTERS:
                changed = await asyncio.to_thread(seconds.change, victim, chosen)
                await caller.has_more(CALLS_BETWEEN, timeout_s=60)
            await asyncio.to_thread(how[victim])
            await caller.has_more(CALLS_BETWEEN, timeout_s=60)
            pauses[victim] = max(pauses[victim], caller.take_longest_pause_s())
            took_s = time.monotonic() - begun_s
            answered = len(caller.answered)
            print(f"{number:3}  {victim:11}{took_s:6.1f} s  {answered:7,} answered  {changed}", flush=True)
    finally:
        await asyncio.to_thread(seconds.stop)
    return pauses


_RECORDED = """
    SELECT count(*) FROM usage_events JOIN series USING (series_id)
    WHERE service_id = $1 AND NOT is_continuation
"""
_ROLLED_UP = """
    SELECT coalesce(sum(requests), 0)::bigint FROM day_totals JOIN series USING (series_id)
    WHERE service_id = $1
"""
_BILLED = "SELECT coalesce(sum(requests), 0)::bigint FROM usage_counters WHERE service_id = $1"
_DRAFTED = """
    SELECT coalesce(sum(quantity), 0)::bigint FROM invoice_lines JOIN invoices USING (invoice_id)
    WHERE status = 'draft' AND service_id = $1
"""


async def count(url: str, sql: str, service_id: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        value: int = await connection.fetchval(sql, service_id)
        return value
    finally:
        await connection.close()


def expected_of(calls: Iterable[UsageEvent]) -> dict[str, int]:
    """What each place should have of these calls. The price takes nothing for what no price charges."""
    classes = [charge_class_of(event.outcome, event.status_code) for event in calls]
    names = ("usage-svc's log", "usage-svc's totals", "usage.aggregated", "billing-svc's counters")
    charged = sum(each != UNCHARGED for each in classes)
    return {**dict.fromkeys(names, len(classes)), "billing-svc's drafts": charged}


async def settled_at(
    system: RunningSystem, bootstrap_servers: str, service_id: str, expected: dict[str, int]
) -> dict[str, int]:
    """What usage-svc has recorded, summed up and told, and what billing-svc has counted and drafted, once all
    is as `expected` or time is up."""
    urls = system.database_urls

    async def counted() -> dict[str, int]:
        values = await read_values(bootstrap_servers, f"{system.topic_prefix}usage.aggregated")
        return {
            "usage-svc's log": await count(urls["usage"], _RECORDED, service_id),
            "usage-svc's totals": await count(urls["usage"], _ROLLED_UP, service_id),
            "usage.aggregated": told_requests(
                total for value in values for total in UsageTotalBatch.FromString(value).totals
            ),
            "billing-svc's counters": await count(urls["billing"], _BILLED, service_id),
            "billing-svc's drafts": await count(urls["billing"], _DRAFTED, service_id),
        }

    async def is_settled() -> bool:
        return await counted() == expected

    with contextlib.suppress(TimeoutError):
        await eventually(is_settled, SETTLE_S)
    await asyncio.sleep(2)  # whatever would be counted twice has time to come
    return await counted()


async def prove(system: RunningSystem, servers: Servers, options: argparse.Namespace) -> bool:
    chosen = random.Random(options.seed)
    upstream = Upstream()
    async with upstream.serving() as base_url, aiohttp.ClientSession() as http:
        trade = await open_trade(system.people(http), ADMIN_EMAIL, base_url, secrets.token_hex(4))
        caller = Caller(system.gateway_url, trade, options.rate)
        calling = asyncio.create_task(caller.run())
        try:
            await caller.has_more(CALLS_BETWEEN, timeout_s=60)
            pauses = await disturb(system, servers, caller, chosen, options)
        finally:
            caller.stop = True
            await calling
        topic = f"{system.topic_prefix}usage.events"
        events = await read_topic(
            servers.kafka.bootstrap_servers, topic, wanted=set(caller.answered), timeout_s=SETTLE_S
        )
        found = differences(Accounts(caller.answered, upstream.request_ids, upstream.calls, events))
        distinct = {event.event_id: event for event in events if not event.is_continuation}
        bootstrap_servers, expected = servers.kafka.bootstrap_servers, expected_of(distinct.values())
        counted = await settled_at(system, bootstrap_servers, trade.service["serviceId"], expected)
        forwarded = await read_values(bootstrap_servers, f"{system.topic_prefix}usage.forwarded")
        found += misforwarded(map(ForwardedTotal.FromString, forwarded), events)
    found += [
        f"{name} have {number:,} instead of {expected[name]:,}"
        for name, number in counted.items()
        if number != expected[name]
    ]
    found += await broken_invariants(system.database_urls)
    found += [
        f"{pause_s:.1f} s without an answer after {victim} was killed"
        for victim, pause_s in pauses.items()
        if pause_s > options.pause
    ]
    numbered = sum(1 for event in events if event.journal_id)
    print(
        f"\nanswered {len(caller.answered):,}; not answered {dict(caller.others)};"
        f" in the upstream's log {len(upstream.request_ids):,};"
        f" events {len(distinct):,}, read {len(events):,}, numbered {numbered:,}; counted {counted}"
    )
    print("longest pause: " + ", ".join(f"{victim} {pause_s:.2f} s" for victim, pause_s in pauses.items()))
    for line in found:
        print(f"  DIFFERS: {line}")
    return not found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="of what the consume path stands on")
    parser.add_argument("--counter-kills", type=int, default=20, help="of usage-svc and billing-svc")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--rate", type=float, default=150, help="calls per second")
    parser.add_argument("--pause", type=float, default=10, help="seconds without an answer that are too long")
    options = parser.parse_args()
    end_on_signals()
    print(f"seed {options.seed}", flush=True)
    servers = Servers(throwaway_directory())
    try:
        print("==> starting the whole system", flush=True)
        servers.start()
        with running(servers.postgres.url, servers.redis.url, servers.kafka.bootstrap_servers) as system:
            system.restart("ams-gateway", GATEWAY_WORKERS=str(WORKERS))
            is_exact = asyncio.run(prove(system, servers, options))
    finally:
        servers.stop()
        shutil.rmtree(servers.directory, ignore_errors=True)
    print("every answered call is counted once" if is_exact else "NOT EXACT")
    sys.exit(0 if is_exact else 1)


if __name__ == "__main__":
    main()
