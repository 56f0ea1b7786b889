"""What `make bench-pipeline` measures on: the topic, PostgreSQL, and the services as processes."""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from ams_common import topics
from ams_local.servers import Addresses

from loadtests.support.processes import cpu_s

T = TypeVar("T")

# What usage-svc and billing-svc are installed from.
FOLDERS = ("usage-svc", "common", "protos")
START_S = 60.0
_MOST_OF_LOG = 20_000
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Whom they would ask besides: nobody answers there.
_AWAY = {f"{name}_ADDRESS": "127.0.0.1:1" for name in ("IDENTITY", "BILLING", "CATALOG", "KEYS", "USAGE")}


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

    def children(self) -> list[int]:
        """Its processes but for the first."""
        children = Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children").read_text().split()
        return [int(child) for child in children]

    def cpu_s(self) -> float:
        """Of all its processes so far, those that have ended too."""
        fields = Path(f"/proc/{self.postmaster}/stat").read_text().rpartition(")")[2].split()
        ended_s = (int(fields[13]) + int(fields[14])) / _TICKS_PER_S
        return cpu_s(self.postmaster) + ended_s + sum(map(cpu_s, self.children()))


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
    def usage_svc(self, database_url: str, sources: Path | None = None) -> Iterator[int]:
        """Runs it for the block; gives its id. `sources`: of another commit."""
        environment = {"USAGE_DATABASE_URL": database_url, "USAGE_LISTEN": "127.0.0.1:0"}
        if sources is not None:
            # Before the directories of the installed packages, which lead to this checkout.
            environment["PYTHONPATH"] = os.pathsep.join(str(sources / folder) for folder in FOLDERS)
        with self._running("usage_svc", environment) as pid:
            yield pid

    @contextlib.contextmanager
    def billing_svc(self, database_url: str) -> Iterator[int]:
        """As usage_svc()."""
        environment = {"BILLING_DATABASE_URL": database_url, "BILLING_LISTEN": "127.0.0.1:0"}
        with self._running("billing_svc", environment) as pid:
            yield pid

    @contextlib.contextmanager
    def _running(self, module: str, environment: Mapping[str, str]) -> Iterator[int]:
        kafka = {
            "KAFKA_TOPIC_PREFIX": self.prefix,
            "KAFKA_BOOTSTRAP_SERVERS": self.servers.kafka_bootstrap_servers,
        }
        environment = {**os.environ, **_AWAY, **kafka, "LOG_LEVEL": "WARNING", **environment}
        # Whom nobody answers here it asks again and again: that is of interest when all fails.
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen([sys.executable, "-m", module], env=environment, stderr=log)
            try:
                yield process.pid
            except BaseException:
                log.seek(0)
                sys.stderr.write(log.read()[-_MOST_OF_LOG:].decode(errors="replace"))
                raise
            finally:
                process.terminate()
                process.wait(20)

    async def records(self) -> int:
        """How many the topic has."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.servers.kafka_bootstrap_servers)
        await consumer.start()
        found = await consumer.end_offsets(
            [TopicPartition(self.topic, number) for number in range(self.partitions)]
        )
        await consumer.stop()
        return sum(found.values())

    async def counted(self, connection: asyncpg.Connection) -> int:
        """How many records usage-svc has counted, by the stored offsets."""
        try:
            counted: int = await connection.fetchval(
                "SELECT coalesce(sum(next_offset), 0)::bigint FROM consumer_offsets WHERE topic = $1",
                self.topic,
            )
        except asyncpg.UndefinedTableError:
            return 0
        return counted


async def until(check: Callable[[], Awaitable[T]], timeout_s: float, pause_s: float = 0.05) -> T:
    deadline_s = time.monotonic() + timeout_s
    while not (answer := await check()):
        if time.monotonic() > deadline_s:
            sys.exit("not everything has been counted in time")
        await asyncio.sleep(pause_s)
    return answer
