"""The outbox relays: what a transaction wrote down goes out to Kafka and Redis, in order, at least once.

One relay per destination, so that Kafka being away never keeps a revoked key alive in Redis.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import asyncpg
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from ams_common.snapshots import INVALIDATION_CHANNEL, SNAPSHOT_TTL_S

log = logging.getLogger(__name__)

_BATCH = 500
_POLL_S = 1.0
_RETRY_S = 0.5
_LOCK = 7_310_002


class Destination(Protocol):
    """Where outbox rows go."""

    name: str

    async def deliver(self, rows: Sequence[asyncpg.Record]) -> None:
        """Returns when all rows are safely there; raises when any may not be."""

    async def close(self) -> None:
        """Let go of connections."""


class KafkaDestination:
    """An idempotent producer; `topic_prefix` stands before every topic's name."""

    name = "kafka"

    def __init__(self, bootstrap_servers: str, topic_prefix: str = "") -> None:
        self._bootstrap_servers = bootstrap_servers
        self._topic_prefix = topic_prefix
        self._producer: AIOKafkaProducer | None = None

    async def deliver(self, rows: Sequence[asyncpg.Record]) -> None:
        """Sends all rows, then waits for every acknowledgement."""
        producer = await self._started()
        acknowledgements = [
            await producer.send(self._topic_prefix + row["topic"], row["payload"], key=row["message_key"])
            for row in rows
        ]
        await asyncio.gather(*acknowledgements)

    async def close(self) -> None:
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap_servers,
                enable_idempotence=True,
                linger_ms=0,
                max_batch_size=262_144,
            )
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer


class RedisDestination:
    """Snapshots: set, then made known to the gateways."""

    name = "redis"

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def deliver(self, rows: Sequence[asyncpg.Record]) -> None:
        """All in one transaction of Redis."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            for row in rows:
                pipeline.set(row["topic"], row["payload"], ex=SNAPSHOT_TTL_S)
                pipeline.publish(INVALIDATION_CHANNEL, row["topic"])
            await pipeline.execute()

    async def close(self) -> None:
        """The connection belongs to whoever made it."""


class OutboxRelay:
    """Takes the rows of one destination out of a service's outbox. Of several processes one works at a
    time (an advisory lock), so the order holds."""

    def __init__(self, database_url: str, destination: Destination) -> None:
        self._database_url = database_url
        self._destination = destination

    async def run(self) -> None:
        """For ever; faults are logged and tried again."""
        try:
            while True:
                try:
                    await self._relay()
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                    log.warning(
                        "outbox waits", extra={"destination": self._destination.name, "error": repr(error)}
                    )
                await asyncio.sleep(_RETRY_S)
        finally:
            await self._destination.close()

    async def _relay(self) -> None:
        connection = await asyncpg.connect(self._database_url, timeout=10)
        try:
            await connection.execute(
                "SELECT pg_advisory_lock($1, hashtext(current_schema() || $2))", _LOCK, self._destination.name
            )
            woken = asyncio.Event()
            schema = await connection.fetchval("SELECT current_schema()")
            await connection.add_listener(f"outbox_{schema}", lambda *_: woken.set())
            while True:
                woken.clear()
                if await self._relay_batch(connection) < _BATCH:
                    await _wait(woken.wait, _POLL_S)
        finally:
            await connection.close(timeout=5)

    async def _relay_batch(self, connection: asyncpg.Connection) -> int:
        rows = await connection.fetch(
            "SELECT outbox_id, topic, message_key, payload FROM outbox"
            " WHERE destination = $1 ORDER BY outbox_id LIMIT $2",
            self._destination.name,
            _BATCH,
        )
        if rows:
            await self._deliver_until_done(rows)
            await connection.execute(
                "DELETE FROM outbox WHERE outbox_id = ANY($1)", [row["outbox_id"] for row in rows]
            )
        return len(rows)

    async def _deliver_until_done(self, rows: Sequence[asyncpg.Record]) -> None:
        while True:
            try:
                await self._destination.deliver(rows)
                return
            except Exception as error:  # whatever it is, the rows stay and are tried again
                log.warning(
                    "delivery waits", extra={"destination": self._destination.name, "error": repr(error)}
                )
                await asyncio.sleep(_RETRY_S)


async def _wait(wait: Callable[[], Awaitable[object]], timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await wait()
    except TimeoutError:
        pass
