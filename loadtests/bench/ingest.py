"""How many usage events a second one usage-svc process counts, and how soon one event is visible.

    .venv/bin/python -m ams_local exec --tests -- .venv/bin/python loadtests/bench/ingest.py

Fills a topic first, then starts the real process (raw rows, rollups, deltas through the outbox to Kafka)
and watches its database: the start of the process is not counted, the first committed batch starts the
clock. Needs DATABASE_URL (an administrator's), REDIS_URL and KAFKA_BOOTSTRAP_SERVERS.
"""

import argparse
import asyncio
import os
import random
import secrets
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from ams.usage.v1.events_pb2 import ANSWERED, UsageEvent, UsageEventBatch
from ams_common import topics
from ams_common.clock import to_timestamp, utc_now
from ams_common.ids import uuid7
from ams_common.testing.eventually import eventually
from ams_common.testing.plugin import with_database

SERVICES = 20


class Traffic:
    """Events of `keys` keys, each of its own consumer, calling services of which some are called more."""

    def __init__(self, keys: int, seed: int) -> None:
        self._random = random.Random(seed)
        self._keys = [(str(uuid7()), str(uuid7()), f"ams_live_{n:08d}") for n in range(keys)]
        self._journal_id = uuid7().bytes
        self._sequence = 0
        self._services = [(str(uuid7()), str(uuid7()), str(uuid7())) for _ in range(SERVICES)]

    def event(self) -> UsageEvent:
        consumer_id, api_key_id, key_prefix = self._random.choice(self._keys)
        service_id, merchant_id, price_version_id = self._services[
            min(int(self._random.expovariate(0.3)), SERVICES - 1)
        ]
        self._sequence += 1
        return UsageEvent(
            journal_id=self._journal_id,
            sequence=self._sequence,
            event_id=uuid7().bytes,
            timestamp=to_timestamp(utc_now()),
            consumer_id=consumer_id,
            api_key_id=api_key_id,
            service_id=service_id,
            merchant_id=merchant_id,
            price_version_id=price_version_id,
            key_prefix=key_prefix,
            request_payload_size_bytes=512,
            response_payload_size_bytes=1024,
            response_time_ms=self._random.randrange(200),
            status_code=self._random.choice([200, 200, 200, 404, 500]),
            outcome=ANSWERED,
        )


@asynccontextmanager
async def fresh_schema(admin_url: str) -> AsyncIterator[str]:
    """The URL of a new database with an empty schema `usage`."""
    name = f"bench_{secrets.token_hex(4)}"
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        url = with_database(admin_url, name)
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE SCHEMA usage")
        await connection.close()
        yield f"{url}?search_path=usage"
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


async def create_topics(bootstrap: str, prefix: str, partitions: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    names = (topics.USAGE_EVENTS, topics.USAGE_AGGREGATED)
    await admin.create_topics([NewTopic(prefix + name, partitions, 1) for name in names])
    await admin.close()


async def send(producer: AIOKafkaProducer, topic: str, events: list[UsageEvent], per_record: int) -> None:
    """As a gateway's turn does: each consumer's events together, at most so many in a record."""
    groups: defaultdict[str, list[UsageEvent]] = defaultdict(list)
    for event in events:
        groups[event.consumer_id].append(event)
    sent = [
        await producer.send(
            topic,
            UsageEventBatch(events=group[start : start + per_record]).SerializeToString(),
            key=consumer_id.encode(),
        )
        for consumer_id, group in groups.items()
        for start in range(0, len(group), per_record)
    ]
    await asyncio.gather(*sent)


@contextmanager
def service(database_url: str, bootstrap: str, prefix: str) -> Iterator[subprocess.Popen[bytes]]:
    """Runs usage-svc as the process that it is, for the block."""
    environment = {
        **os.environ,
        "USAGE_DATABASE_URL": database_url,
        "USAGE_LISTEN": "127.0.0.1:0",
        "IDENTITY_ADDRESS": "127.0.0.1:1",
        "KAFKA_TOPIC_PREFIX": prefix,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "LOG_LEVEL": "WARNING",
    }
    process = subprocess.Popen([sys.executable, "-m", "usage_svc"], env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def cpu_s(process: subprocess.Popen[bytes]) -> float:
    """CPU time the process has used: fields 14 and 15 of /proc/<pid>/stat (Linux)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def counted(connection: asyncpg.Connection) -> int:
    """Returns how many events usage-svc has counted so far."""
    try:
        count: int = await connection.fetchval(
            "SELECT coalesce(sum(requests), 0)::bigint FROM usage_rollups WHERE granularity = 'day'"
        )
    except asyncpg.UndefinedTableError:
        return 0
    return count


async def watch(
    connection: asyncpg.Connection, process: subprocess.Popen[bytes], total: int
) -> tuple[int, float, float]:
    """Until all is counted: (events, seconds, CPU seconds of the process) after the first batch."""
    first = await eventually(lambda: counted(connection), timeout_s=60)
    began_s, cpu_began_s = time.monotonic(), cpu_s(process)

    async def is_done() -> bool:
        return await counted(connection) >= total

    await eventually(is_done, timeout_s=600)
    return total - first, time.monotonic() - began_s, cpu_s(process) - cpu_began_s


async def visibility_ms(
    connection: asyncpg.Connection, producer: AIOKafkaProducer, topic: str, event: UsageEvent
) -> float:
    """From sending one event until its effects are committed."""
    sent_s = time.monotonic()
    await producer.send_and_wait(topic, event.SerializeToString(), key=event.consumer_id.encode())
    event_id = UUID(bytes=event.event_id)
    # Another process's commit can only be polled for, here more often than eventually() does.
    while not await connection.fetchval("SELECT true FROM usage_events WHERE event_id = $1", event_id):  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    return (time.monotonic() - sent_s) * 1000


async def measure(events: int, keys: int, partitions: int, probes: int, per_record: int) -> None:
    bootstrap, prefix = os.environ["KAFKA_BOOTSTRAP_SERVERS"], f"bench{secrets.token_hex(4)}."
    topic, traffic = prefix + topics.USAGE_EVENTS, Traffic(keys, seed=1)
    await create_topics(bootstrap, prefix, partitions)
    async with (
        fresh_schema(os.environ["DATABASE_URL"]) as url,
        AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5) as producer,
    ):
        for _ in range(events // 1000):
            await send(producer, topic, [traffic.event() for _ in range(1000)], per_record)
        connection = await asyncpg.connect(url)
        with service(url, bootstrap, prefix) as process:
            count, duration_s, process_cpu_s = await watch(connection, process, events // 1000 * 1000)
            delays = [
                await visibility_ms(connection, producer, topic, traffic.event()) for _ in range(probes)
            ]
        await connection.close()
    print(
        f"{keys} keys, {partitions} partitions: {count} events in {duration_s:.1f} s ="
        f" {count / duration_s:,.0f} events/s, {process_cpu_s / count * 1e6:.0f} µs of CPU in usage-svc each;"
        f" one event alone is visible after {statistics.median(delays):.0f} ms (worst {max(delays):.0f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--keys", type=int, nargs="+", default=[10, 1000], help="one run for each")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--probes", type=int, default=50, help="single events whose visibility is timed")
    parser.add_argument(
        "--per-record", type=int, default=500, help="events of a consumer that share a record"
    )
    arguments = parser.parse_args()
    for keys in arguments.keys:
        asyncio.run(
            measure(arguments.events, keys, arguments.partitions, arguments.probes, arguments.per_record)
        )


if __name__ == "__main__":
    main()
