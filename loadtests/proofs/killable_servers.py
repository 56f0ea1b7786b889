"""PostgreSQL, Redis and Kafka that can be killed, and come back with what is on their disks."""

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from ams_common.ports import free_port, free_ports
from ams_local.daemons import StartError
from ams_local.kafka import Kafka
from ams_local.postgres import Postgres
from ams_local.redis import Redis
from redis import Redis as RedisClient


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
        asyncio.run(self._keep_what_is_committed())

    async def _keep_what_is_committed(self) -> None:
        """A throwaway server says "committed" up to a second before the kernel has it: killed, it would come
        back without what was already told to others. A role's setting stands above the server's own."""
        connection = await asyncpg.connect(self.postgres.url)
        try:
            await connection.execute("ALTER ROLE ALL SET synchronous_commit = on")
            await connection.execute("CHECKPOINT")
        finally:
            await connection.close()

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
