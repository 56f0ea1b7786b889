"""`make bench-pipeline`: how many usage events one usage-svc counts, beside the commit before totals.

    python -m loadtests.bench.ingest [--events N] [--keys N] [--per-record N] [--rounds N] [--before COMMIT]
                                     [--slices N] [--preload N] [--profile]

A topic is filled once. First this code's usage-svc counts it with billing-svc beside it: how long after the
last event of the one the other agrees. Then this code and the other commit's read it one after the other,
each as the process that it is, into a database of its own, until all is counted and told to billing's topic.
The clock starts with the first batch that is committed. CPU is that of the process, and of all of
PostgreSQL's; memory is the most that the process had. Then single events are sent and timed until they are
counted. --slices tells what an event costs as the database fills; with --preload it begins with as many rows,
without the other commit, whose tables are others. DATABASE_URL and KAFKA_BOOTSTRAP_SERVERS are used where
they are set.
"""

import argparse
import asyncio
import contextlib
import os
import secrets
import statistics
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import asyncpg
from aiokafka import AIOKafkaProducer
from ams_local.servers import Addresses, serving

from loadtests.bench import ingest_billing, ingest_history
from loadtests.bench.ingest_stage import FOLDERS, START_S, Bench, Postgres, until
from loadtests.bench.ingest_traffic import Traffic, create_topics, fill
from loadtests.support.databases import fresh_database
from loadtests.support.gateway import checked_out
from loadtests.support.processes import cpu_s, most_rss_bytes
from loadtests.support.profiles import begin_counting_statements, print_statements, profiled

# The commit before batches were columns and deltas totals.
BEFORE = "1315c34"
_MOST_S = 900.0


@dataclass(frozen=True)
class Reading:
    """Where a run is."""

    events: float
    at_s: float
    usage_svc_s: float  # of CPU
    postgres_s: float

    def slice_of(self, events: int, slices: int) -> int:
        """In which of so many parts of all events."""
        return int(self.events * slices / events)

    def until(self, later: "Reading") -> "Cost":
        """What the events between cost."""
        events = later.events - self.events
        return Cost(
            events / (later.at_s - self.at_s),
            (later.usage_svc_s - self.usage_svc_s) / events * 1e6,
            (later.postgres_s - self.postgres_s) / events * 1e6,
        )


@dataclass(frozen=True)
class Cost:
    """What events take."""

    events_per_s: float
    usage_svc_us: float  # of CPU, per event
    postgres_us: float

    def __str__(self) -> str:
        return (
            f"{self.events_per_s:9,.0f} events/s   {self.usage_svc_us:6.1f} µs in usage-svc"
            f" + {self.postgres_us:6.1f} µs in PostgreSQL each"
        )


@dataclass(frozen=True)
class Figures:
    """Of one version in one round."""

    cost: Cost
    most_mb: float  # of memory in usage-svc, while it was behind
    visible_ms: float  # until a single event is counted: the median
    slices: list[tuple[float, Cost]]  # and how many events of the topic had been counted by its end

    def __str__(self) -> str:
        return f"{self.cost}   at most {self.most_mb:4.0f} MB   one alone after {self.visible_ms:4.1f} ms"


async def measure(
    bench: Bench, traffic: Traffic, arguments: argparse.Namespace, sources: Path | None
) -> Figures:
    """Of this code, or of another commit's in `sources`."""
    records, slices = await bench.records(), arguments.slices
    async with fresh_database(bench.servers.database_url, "usage") as url:
        if arguments.preload:
            await ingest_history.load(url, traffic, arguments.preload)
        connection = await asyncpg.connect(url)
        with bench.usage_svc(url, sources) as pid, contextlib.ExitStack() as profiles:

            async def read() -> Reading:
                events = bench.events * await bench.counted(connection) / records
                return Reading(events, time.monotonic(), cpu_s(pid), bench.postgres.cpu_s())

            await until(lambda: bench.counted(connection), START_S)
            readings = [await read()]
            is_profiled = arguments.profile and sources is None
            counts_statements = is_profiled and await begin_counting_statements(connection)
            if is_profiled:
                profiles.enter_context(profiled("PostgreSQL", bench.postgres.children()))
                profiles.enter_context(profiled("usage-svc", [pid]))

            async def is_done() -> bool:
                reading = await read()
                if reading.events >= bench.events:
                    return not await connection.fetchval("SELECT EXISTS (SELECT FROM outbox)")
                if reading.slice_of(bench.events, slices) > readings[-1].slice_of(bench.events, slices):
                    readings.append(reading)
                return False

            await until(is_done, _MOST_S)
            readings.append(await read())
            profiles.close()
            if counts_statements:
                await print_statements(connection, readings[-1].events - readings[0].events)
            most_mb = most_rss_bytes(pid) / 1e6
            visible_ms = await time_single_events(bench, connection)
        await connection.close()
    parts = [(later.events, earlier.until(later)) for earlier, later in pairwise(readings)]
    return Figures(readings[0].until(readings[-1]), most_mb, visible_ms, parts)


async def time_single_events(bench: Bench, connection: asyncpg.Connection, probes: int = 30) -> float:
    """From sending one until its effects are committed, in ms: the median."""
    traffic, times_ms = Traffic(10, seed=2), []
    async with AIOKafkaProducer(bootstrap_servers=bench.servers.kafka_bootstrap_servers) as producer:
        for _ in range(probes):
            event = traffic.event()
            before = await bench.counted(connection)
            sent_s = time.monotonic()
            await producer.send_and_wait(
                bench.topic, event.SerializeToString(), key=event.consumer_id.encode()
            )
            # Another process's commit can only be polled for.
            while await bench.counted(connection) == before:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            times_ms.append((time.monotonic() - sent_s) * 1000)
    return statistics.median(times_ms)


async def run(arguments: argparse.Namespace, servers: Addresses, sources: Path) -> None:
    bench = Bench(
        servers,
        await Postgres.of(servers.database_url),
        f"bench{secrets.token_hex(4)}.",
        arguments.partitions,
        arguments.events,
        arguments.per_record,
    )
    await create_topics(servers.kafka_bootstrap_servers, bench.prefix, arguments.partitions)
    print(f"==> filling {bench.topic} with {bench.events:,} events of {arguments.keys:,} keys", flush=True)
    traffic = Traffic(arguments.keys, seed=1)
    await fill(servers.kafka_bootstrap_servers, bench.topic, traffic, bench.events, bench.per_record)
    await ingest_billing.offer(bench, traffic)
    await ingest_billing.follow(bench)
    versions = {"before": sources, "now": None} if arguments.before else {"now": None}
    rounds: dict[str, list[Figures]] = {name: [] for name in versions}
    for number in range(arguments.rounds):
        for name, of in versions.items():
            figures = await measure(bench, traffic, arguments, of)
            rounds[name].append(figures)
            print(f"round {number + 1}  {name:7} {figures}", flush=True)
            if arguments.slices > 1:
                for counted, cost in figures.slices:
                    print(f"  to {arguments.preload + counted:12,.0f}  {cost}", flush=True)
    if len(rounds) == 2:
        before, now = (
            statistics.median(each.cost.events_per_s for each in rounds[name]) for name in ("before", "now")
        )
        verdict = "reached" if now >= 4 * before else "MISSED"
        print(f"aim: 4 times the events per second of {arguments.before}: {now / before:.1f}, {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--per-record", type=int, default=500, help="events of a consumer that share a record"
    )
    parser.add_argument("--before", default=BEFORE, help='the commit to hold this one against, "" for none')
    parser.add_argument("--slices", type=int, default=1, help="parts of a round whose cost is told")
    parser.add_argument("--preload", type=int, default=0, help="events that the database has at the start")
    parser.add_argument("--profile", action="store_true", help="also show where the time goes")
    arguments = parser.parse_args()
    if arguments.preload:
        arguments.before = ""
    print("==> starting PostgreSQL and Kafka", flush=True)
    # No Redis is needed.
    environment = {"REDIS_URL": "unused", **os.environ}
    with (
        tempfile.TemporaryDirectory(prefix="ams-bench-") as home,
        serving(throwaway=True, environment=environment) as servers,
    ):
        sources = Path(home)
        if arguments.before:
            sources = checked_out(arguments.before, Path(home) / "before", FOLDERS)
        asyncio.run(run(arguments, servers, sources))


if __name__ == "__main__":
    main()
