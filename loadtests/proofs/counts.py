"""`make prove-counts`: whatever is killed, every answered call is counted exactly once.

    PYTHONPATH=tests python -m loadtests.proofs.counts [--kills N] [--seed N] [--rate N]

The whole system on servers of its own, with two gateway workers, is called without pause while one after
the other is killed (SIGKILL) and started again: a gateway worker, Kafka, Redis, keys-svc and PostgreSQL, in
an order drawn from the seed. Afterwards three accounts are held against each other: the caller's answers,
the upstream's own log and the topic usage.events; then what usage-svc and billing-svc made of it. Exits
with 1 when they differ, or when a kill stopped the calls for longer than --pause.
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
from collections.abc import Callable
from pathlib import Path

import aiohttp
import asyncpg
from ams_common.testing.eventually import eventually
from ams_local.execution import end_on_signals
from ams_local.paths import throwaway_directory
from support.running_system import ADMIN_EMAIL, RunningSystem, running
from support.trade import open_trade

from loadtests.proofs.accounts import Accounts, differences
from loadtests.proofs.killable_servers import Servers
from loadtests.proofs.numbered_calls import Caller, Upstream
from loadtests.proofs.usage_topic import read_topic

VICTIMS = ("worker", "Kafka", "Redis", "keys-svc", "PostgreSQL")
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


def kill_keys_svc(system: RunningSystem) -> None:
    system.kill("keys-svc")
    system.start("keys-svc")


async def disturb(
    system: RunningSystem, servers: Servers, caller: Caller, chosen: random.Random, kills: int
) -> dict[str, float]:
    """The longest pause between two answers, by who was killed before it."""
    how: dict[str, Callable[[], None]] = {
        "worker": lambda: kill_worker(system, chosen),
        "Kafka": servers.kill_kafka,
        "Redis": servers.kill_redis,
        "keys-svc": lambda: kill_keys_svc(system),
        "PostgreSQL": servers.kill_postgres,
    }
    victims = [VICTIMS[number % len(VICTIMS)] for number in range(kills)]
    chosen.shuffle(victims)
    pauses = dict.fromkeys(VICTIMS, 0.0)
    for number, victim in enumerate(victims, 1):
        begun_s = time.monotonic()
        await asyncio.to_thread(how[victim])
        await caller.has_more(CALLS_BETWEEN, timeout_s=60)
        pauses[victim] = max(pauses[victim], caller.take_longest_pause_s())
        took_s = time.monotonic() - begun_s
        print(f"{number:3}  {victim:11}{took_s:6.1f} s  {len(caller.answered):7,} answered", flush=True)
    return pauses


async def count(url: str, sql: str, service_id: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        value: int = await connection.fetchval(sql, service_id)
        return value
    finally:
        await connection.close()


async def settled_at(system: RunningSystem, service_id: str, events: int) -> dict[str, int]:
    """What usage-svc and billing-svc have counted, once that is `events` or time is up."""
    urls = system.database_urls

    async def counted() -> dict[str, int]:
        raw = "SELECT count(*) FROM usage_events WHERE service_id = $1"
        billed = "SELECT coalesce(sum(requests), 0)::bigint FROM billing_counters WHERE service_id = $1"
        return {
            "usage-svc": await count(urls["usage"], raw, service_id),
            "billing-svc": await count(urls["billing"], billed, service_id),
        }

    async def is_settled() -> bool:
        return set((await counted()).values()) == {events}

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
            pauses = await disturb(system, servers, caller, chosen, options.kills)
        finally:
            caller.stop = True
            await calling
        topic = f"{system.topic_prefix}usage.events"
        events = await read_topic(
            servers.kafka.bootstrap_servers, topic, wanted=set(caller.answered), timeout_s=SETTLE_S
        )
        found = differences(Accounts(caller.answered, upstream.request_ids, upstream.calls, events))
        distinct = {event.event_id for event in events if not event.is_continuation}
        counted = await settled_at(system, trade.service["serviceId"], len(distinct))
    found += [f"{name} counted {number:,}" for name, number in counted.items() if number != len(distinct)]
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
    parser.add_argument("--kills", type=int, default=30)
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
