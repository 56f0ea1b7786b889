"""`make bench-pipeline`: how many usage events one usage-svc counts, beside the commit before totals.

    python -m loadtests.bench.ingest [--events N] [--keys N] [--per-record N] [--rounds N] [--before COMMIT]

A topic is filled once; this code and the other commit's read it one after the other, each as the process
that it is, into a database of its own, until all is counted and told to billing's topic. The clock starts
with the first batch that is committed. CPU is that of the process, and of all of PostgreSQL's; memory is the
most that the process had. Then single events are sent and timed until they are counted. DATABASE_URL and
KAFKA_BOOTSTRAP_SERVERS are used where they are set.
"""

import argparse
import asyncio
import contextlib
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from ams_common import topics
from ams_local.servers import Addresses, serving

from loadtests.bench.ingest_traffic import Traffic, create_topics, fill
from loadtests.support.databases import fresh_database
from loadtests.support.gateway import checked_out
from loadtests.support.processes import cpu_s, most_rss_bytes

T = TypeVar("T")

# The commit before batches were columns and deltas totals.
BEFORE = "1315c34"
_FOLDERS = ("usage-svc", "common", "protos")
_START_S = 60.0
_MOST_S = 900.0
_MOST_OF_LOG = 20_000
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Figures:
    """Of one version in one round."""

    events_per_s: float
    usage_svc_us: float  # of CPU, per event
    postgres_us: float
    most_mb: float  # of memory in usage-svc, while it was behind
    visible_ms: float  # until a single event is counted: the median


@dataclass(frozen=True)
class Postgres:
    """The server, as the tree of processes that it is."""

    postmaster: int

    @classmethod
    async def of(cls, url: str) -> "Postgres":
        connection = await asyncpg.connect(url)
        directory = await connection.fetchval("SHOW data_directory")
        await connection.close()
        return cls(int((Path(directory) / "postmaster.pid").read_text().split()[0]))

    def cpu_s(self) -> float:
        """Of all its processes so far, those that have ended too."""
        children = Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children").read_text().split()
        fields = Path(f"/proc/{self.postmaster}/stat").read_text().rpartition(")")[2].split()
        ended_s = (int(fields[13]) + int(fields[14])) / _TICKS_PER_S
        return cpu_s(self.postmaster) + ended_s + sum(cpu_s(int(child)) for child in children)


@dataclass(frozen=True)
class Bench:
    """What all rounds share."""

    servers: Addresses
    postgres: Postgres
    prefix: str
    partitions: int
    events: int
    per_record: int

    @property
    def topic(self) -> str:
        return self.prefix + topics.USAGE_EVENTS


@contextlib.contextmanager
def usage_svc(bench: Bench, database_url: str, sources: Path | None) -> Iterator[int]:
    """Runs it as the process that it is, for the block; gives its id."""
    environment = {
        **os.environ,
        "USAGE_DATABASE_URL": database_url,
        "USAGE_LISTEN": "127.0.0.1:0",
        "IDENTITY_ADDRESS": "127.0.0.1:1",
        "BILLING_ADDRESS": "127.0.0.1:1",
        "CATALOG_ADDRESS": "127.0.0.1:1",
        "KEYS_ADDRESS": "127.0.0.1:1",
        "KAFKA_TOPIC_PREFIX": bench.prefix,
        "KAFKA_BOOTSTRAP_SERVERS": bench.servers.kafka_bootstrap_servers,
        "LOG_LEVEL": "WARNING",
    }
    if sources is not None:
        # Before the directories of the installed packages, which lead to this checkout.
        environment["PYTHONPATH"] = os.pathsep.join(str(sources / folder) for folder in _FOLDERS)
    # Whom nobody answers here it asks again and again: what it says of that is of interest when all fails.
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, "-m", "usage_svc"], env=environment, stderr=log)
        try:
            yield process.pid
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-_MOST_OF_LOG:].decode(errors="replace"))
            raise
        finally:
            process.terminate()
            process.wait(20)


async def ends(bench: Bench) -> dict[int, int]:
    """Where each partition of the topic ends."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bench.servers.kafka_bootstrap_servers)
    await consumer.start()
    partitions = [TopicPartition(bench.topic, number) for number in range(bench.partitions)]
    found = await consumer.end_offsets(partitions)
    await consumer.stop()
    return {partition.partition: end for partition, end in found.items()}


async def read_of(connection: asyncpg.Connection, bench: Bench) -> int:
    """How many records have been counted, by the stored offsets."""
    try:
        counted: int = await connection.fetchval(
            "SELECT coalesce(sum(next_offset), 0)::bigint FROM consumer_offsets WHERE topic = $1", bench.topic
        )
    except asyncpg.UndefinedTableError:
        return 0
    return counted


async def measure(bench: Bench, sources: Path | None) -> Figures:
    to_read = sum((await ends(bench)).values())
    async with fresh_database(bench.servers.database_url, "usage") as url:
        connection = await asyncpg.connect(url)
        with usage_svc(bench, url, sources) as pid:
            first = await _until(lambda: read_of(connection, bench), _START_S)
            began_s, own_s, postgres_s = time.monotonic(), cpu_s(pid), bench.postgres.cpu_s()

            async def is_done() -> bool:
                return await read_of(connection, bench) >= to_read and not await connection.fetchval(
                    "SELECT EXISTS (SELECT FROM outbox)"
                )

            await _until(is_done, _MOST_S)
            took_s = time.monotonic() - began_s
            own_s, postgres_s = cpu_s(pid) - own_s, bench.postgres.cpu_s() - postgres_s
            most_mb = most_rss_bytes(pid) / 1e6
            visible_ms = await time_single_events(bench, connection)
        await connection.close()
    counted = bench.events * (to_read - first) / to_read
    return Figures(counted / took_s, own_s / counted * 1e6, postgres_s / counted * 1e6, most_mb, visible_ms)


async def time_single_events(bench: Bench, connection: asyncpg.Connection, probes: int = 30) -> float:
    """From sending one until its effects are committed, in ms: the median."""
    traffic, times_ms = Traffic(10, seed=2), []
    async with AIOKafkaProducer(bootstrap_servers=bench.servers.kafka_bootstrap_servers) as producer:
        for _ in range(probes):
            event = traffic.event()
            before = await read_of(connection, bench)
            sent_s = time.monotonic()
            await producer.send_and_wait(
                bench.topic, event.SerializeToString(), key=event.consumer_id.encode()
            )
            # Another process's commit can only be polled for.
            while await read_of(connection, bench) == before:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            times_ms.append((time.monotonic() - sent_s) * 1000)
    return statistics.median(times_ms)


async def _until(check: Callable[[], Awaitable[T]], timeout_s: float) -> T:
    deadline_s = time.monotonic() + timeout_s
    while not (answer := await check()):
        if time.monotonic() > deadline_s:
            sys.exit("usage-svc has not counted everything in time")
        await asyncio.sleep(0.05)
    return answer


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
    await fill(
        servers.kafka_bootstrap_servers,
        bench.topic,
        Traffic(arguments.keys, seed=1),
        bench.events,
        bench.per_record,
    )
    versions = {"before": sources, "now": None} if arguments.before else {"now": None}
    rounds: dict[str, list[Figures]] = {name: [] for name in versions}
    for number in range(arguments.rounds):
        for name, of in versions.items():
            figures = await measure(bench, of)
            rounds[name].append(figures)
            print(f"round {number + 1}  {name:7} {_row(figures)}", flush=True)
    if len(rounds) == 2:
        before, now = (
            statistics.median(each.events_per_s for each in rounds[name]) for name in ("before", "now")
        )
        verdict = "reached" if now >= 4 * before else "MISSED"
        print(f"aim: 4 times the events per second of {arguments.before}: {now / before:.1f}, {verdict}")


def _row(figures: Figures) -> str:
    return (
        f"{figures.events_per_s:9,.0f} events/s   {figures.usage_svc_us:6.1f} µs in usage-svc"
        f" + {figures.postgres_us:6.1f} µs in PostgreSQL each   at most {figures.most_mb:4.0f} MB"
        f"   one alone after {figures.visible_ms:4.1f} ms"
    )


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
    arguments = parser.parse_args()
    print("==> starting PostgreSQL and Kafka", flush=True)
    # No Redis is needed.
    environment = {"REDIS_URL": "unused", **os.environ}
    with (
        tempfile.TemporaryDirectory(prefix="ams-bench-") as home,
        serving(throwaway=True, environment=environment) as servers,
    ):
        sources = Path(home)
        if arguments.before:
            sources = checked_out(arguments.before, Path(home) / "before", _FOLDERS)
        asyncio.run(run(arguments, servers, sources))


if __name__ == "__main__":
    main()
