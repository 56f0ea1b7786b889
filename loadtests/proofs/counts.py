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
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import asyncpg
from aiohttp import web
from ams_common.ports import free_port, free_ports
from ams_common.testing.eventually import eventually
from ams_local.daemons import StartError
from ams_local.execution import end_on_signals
from ams_local.kafka import Kafka
from ams_local.paths import throwaway_directory
from ams_local.postgres import Postgres
from ams_local.redis import Redis
from redis import Redis as RedisClient
from support.running_system import ADMIN_EMAIL, RunningSystem, running
from support.trade import Trade, open_trade

from loadtests.proofs.accounts import Accounts, differences
from loadtests.proofs.usage_topic import read_topic

VICTIMS = ("worker", "Kafka", "Redis", "keys-svc", "PostgreSQL")
CALLERS = 8
# Between two kills, so that each falls into calls.
CALLS_BETWEEN = 60
SETTLE_S = 90


@dataclass
class Servers:
    """PostgreSQL, Redis and Kafka, each of which can be killed and comes back with what is on its disk."""

    directory: Path
    postgres: Postgres = field(init=False)
    redis: Redis = field(init=False)
    kafka: Kafka = field(init=False)

    def __post_init__(self) -> None:
        self.postgres = Postgres(self.directory, free_port(), throwaway=True)
        self.redis = Redis(self.directory, free_port(), throwaway=True)
        self.kafka = Kafka(self.directory, *free_ports(2), throwaway=True)

    def start(self) -> None:
        for server in (self.kafka, self.postgres, self.redis):
            server.launch()
        for server in (self.kafka, self.postgres, self.redis):
            server.wait()

    def stop(self) -> None:
        for server in (self.redis, self.postgres, self.kafka):
            server.stop()

    def kill_postgres(self) -> None:
        pid = int((self.postgres.data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        self.postgres.stop()
        deadline_s = time.monotonic() + 30
        while True:
            # The sessions of the killed server hold its memory until they have seen that it is gone.
            self.postgres.launch()
            with contextlib.suppress(StartError):
                self.postgres.wait()
                return
            if time.monotonic() > deadline_s:
                raise TimeoutError("PostgreSQL doesn't come back")

    def kill_redis(self) -> None:
        with RedisClient.from_url(self.redis.url) as client:
            pid = int(client.info("server")["process_id"])
        os.kill(pid, signal.SIGKILL)
        self.redis.stop()
        self.redis.launch()
        self.redis.wait()

    def kill_kafka(self) -> None:
        self.kafka.stop()  # of a throwaway broker that is SIGKILL
        self.kafka.launch()
        self.kafka.wait()


class Upstream:
    """The merchant's API, which writes down each call before it answers."""

    def __init__(self) -> None:
        self.request_ids: list[str] = []
        self.calls: Counter[int] = Counter()

    async def answer(self, request: web.Request) -> web.Response:
        await request.read()
        self.calls[int(request.headers["X-Call"])] += 1
        self.request_ids.append(request.headers.get("X-Request-Id", ""))
        return web.json_response({"answer": 42})

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Its base URL."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()


class Caller:
    """Calls at a rate, each with a number of its own, and remembers which were answered."""

    def __init__(self, gateway_url: str, trade: Trade, requests_per_s: float) -> None:
        self._url = f"{gateway_url}/api/consume"
        self._headers = {
            "Authorization": f"Bearer {trade.secret}",
            "X-AMS-Service": trade.service["serviceId"],
        }
        self._pause_s = CALLERS / requests_per_s
        self._number = 0
        self.answered: dict[str, int] = {}  # number of the call by request id
        self.others: Counter[str] = Counter()
        self.longest_pause_s = 0.0
        self._last_s = time.monotonic()
        self.stop = False

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            await asyncio.gather(*(self._call_on(http) for _ in range(CALLERS)))

    async def _call_on(self, http: aiohttp.ClientSession) -> None:
        while not self.stop:
            self._number += 1
            await self._call(http, self._number)
            await asyncio.sleep(self._pause_s)

    async def _call(self, http: aiohttp.ClientSession, number: int) -> None:
        headers = {**self._headers, "X-Call": str(number)}
        try:
            async with http.post(self._url, data=b"x" * 100, headers=headers) as answer:
                await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.others[type(error).__name__] += 1
            return
        if answer.status != 200:
            self.others[str(answer.status)] += 1
            return
        self.answered[answer.headers["X-Request-Id"]] = number
        now_s = time.monotonic()
        self.longest_pause_s = max(self.longest_pause_s, now_s - self._last_s)
        self._last_s = now_s

    def take_longest_pause_s(self) -> float:
        """Between two answers since this was last asked."""
        longest_s, self.longest_pause_s = self.longest_pause_s, 0.0
        return longest_s

    async def has_more(self, count: int, timeout_s: float) -> None:
        wanted = len(self.answered) + count

        async def enough() -> bool:
            return len(self.answered) >= wanted

        await eventually(enough, timeout_s)


def kill_worker(system: RunningSystem, chosen: random.Random) -> None:
    pid = system.process_id("ams-gateway")
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    workers = [
        child for child in children if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    os.kill(chosen.choice(workers), signal.SIGKILL)


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
            system.restart("ams-gateway", GATEWAY_WORKERS="2")
            is_exact = asyncio.run(prove(system, servers, options))
    finally:
        servers.stop()
    print("every answered call is counted once" if is_exact else "NOT EXACT")
    sys.exit(0 if is_exact else 1)


if __name__ == "__main__":
    main()
