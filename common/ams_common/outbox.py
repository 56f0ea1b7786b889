"""The outbox relays: what a transaction wrote down goes out to Kafka and Redis, in order, at least once.

One relay per destination, so that Kafka being away never keeps a revoked key alive in Redis.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import asyncpg
from aiokafka import AIOKafkaProducer
from google.protobuf.message import Message

from ams_common import metrics
from ams_common.clock import utc_now
from ams_common.database import Change, Database
from ams_common.etags import EFFECTIVE_BY
from ams_common.faults import PASSING_FAULTS
from ams_common.loops import run_forever
from ams_common.redis_client import RedisClient
from ams_common.snapshots import (
    CONFIRMED_WITHIN,
    INVALIDATION_CHANNEL,
    SNAPSHOT_TTL_S,
    WRITE_SNAPSHOT_SCRIPT,
    Snapshot,
    snapshot_version_key,
)
from ams_common.wakeups import Wakeups

log = logging.getLogger(__name__)

_BATCH = 500
_POLL_S = 1.0
_RETRY_S = 0.5
_STATEMENT_TIMEOUT_S = 10.0
# How long Redis may take with each part of a batch. What isn't answered is written again, to no effect.
WRITE_TIMEOUT_S = 5.0
_LOCK = 7_310_002
_ASK_EVERY_S = 0.02
_MOST_WAITING = 10_000

M = TypeVar("M", bound=Message)


class Destination(Protocol):
    """Where a relay delivers the rows of an outbox."""

    name: str

    async def deliver(self, rows: Sequence[asyncpg.Record]) -> None:
        """Returns when all rows are safely there; raises when any may not be."""

    async def close(self) -> None:
        """Close the connections that the destination made itself."""


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
        try:
            acknowledgements = [
                await producer.send(self._topic_prefix + row["topic"], row["payload"], key=row["message_key"])
                for row in rows
            ]
            await asyncio.gather(*acknowledgements)
        except Exception:
            # It has counted what it could not send, so the broker would refuse all that comes after.
            await self.close()
            raise

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

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
    """Snapshots: each is set if it is no older than what is there, and made known to the gateways.

    In a Redis that is full the snapshot that is out of date is removed instead (see snapshots).
    """

    name = "redis"

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    async def deliver(self, rows: Sequence[asyncpg.Record]) -> None:
        """Raises when Redis refuses one: those before it, and behind it, may be there already."""
        written = [(row["topic"], row["snapshot_version"], row["payload"]) for row in rows]
        outcomes = await _write(self._redis, written)
        counter = metrics.counter("ams_snapshots", "Snapshots taken to Redis, by outcome.", "outcome")
        for outcome in outcomes:
            counter.labels(outcome.decode() if isinstance(outcome, bytes) else outcome).inc()

    async def close(self) -> None:
        """The connection belongs to whoever made it."""


async def write_now(redis: RedisClient, snapshots: Mapping[str, Snapshot]) -> None:
    """Takes snapshots, by their Redis keys, to Redis past any outbox: for rebuilding what Redis has lost.
    What is newer there stays. Raises RedisError."""
    await _write(redis, [(key, each.version, each.SerializeToString()) for key, each in snapshots.items()])


async def _write(redis: RedisClient, snapshots: Sequence[tuple[str, int, bytes]]) -> list[bytes | str]:
    """Redis keys with versions and what lies there from now on; how each went."""
    async with redis.pipeline(transaction=False) as pipeline:
        for redis_key, version, payload in snapshots:
            keys = (redis_key, snapshot_version_key(redis_key))
            values = (version, payload, SNAPSHOT_TTL_S, INVALIDATION_CHANNEL)
            pipeline.eval(WRITE_SNAPSHOT_SCRIPT, len(keys), *keys, *values)
        outcomes: list[bytes | str] = await pipeline.execute()
    return outcomes


async def is_delivered(database: Database, redis_keys: Collection[str], within_s: float) -> bool:
    """Waits until no snapshot for any of the Redis keys is left to deliver, at most `within_s`; False also
    when that can't be found out.

    To be called after the commit, and not inside of another transaction: no lock is held meanwhile.
    """
    query = "SELECT EXISTS (SELECT FROM outbox WHERE destination = 'redis' AND topic = ANY($1))"
    wanted = list(redis_keys)
    try:
        async with asyncio.timeout(within_s):
            while wanted:
                async with database.connection() as connection:
                    if not await connection.fetchval(query, wanted):
                        break
                await asyncio.sleep(_ASK_EVERY_S)
    except PASSING_FAULTS:  # the timeout is one
        return False
    return True


@dataclass
class Deliveries:
    """Whether the gateways can know of a change, for the answer of whoever takes something away.
    `wait_s`: how long that is waited for."""

    database: Database
    wait_s: float = 1.0

    async def tell(self, answer: M, change: Change) -> M:
        """The answer, with its `effective_by` where Redis couldn't be told of the change: by then each
        gateway has asked for what it holds. To be called after the change's commit, as `is_delivered`."""
        if not await is_delivered(self.database, change.snapshot_keys, self.wait_s):
            getattr(answer, EFFECTIVE_BY).FromDatetime(utc_now() + CONFIRMED_WITHIN)
        return answer


async def write_again(database: Database, snapshots: Mapping[str, Snapshot]) -> None:
    """Takes snapshots, by their Redis keys, to Redis once more, where an older one was met.

    One that waits already isn't queued twice, and nothing is while very many wait: Redis is away then.
    """
    if not snapshots:
        return
    # Their cause was audited when it happened.
    async with database.change_by_system("write snapshots again", audited=False) as change:
        waiting = await change.connection.fetchval(
            "SELECT count(*) FROM (SELECT FROM outbox WHERE destination = 'redis' LIMIT $1) AS rows",
            _MOST_WAITING,
        )
        if waiting >= _MOST_WAITING:
            return
        queued = await change.connection.fetch(
            "SELECT DISTINCT topic FROM outbox WHERE destination = 'redis' AND topic = ANY($1)",
            list(snapshots),
        )
        for redis_key in snapshots.keys() - {row["topic"] for row in queued}:
            change.snapshot(redis_key, snapshots[redis_key])


class OutboxRelay:
    """Takes the rows of one destination out of a service's outbox. Of several processes one works at a
    time (an advisory lock), so the order holds."""

    def __init__(self, database_url: str, destination: Destination) -> None:
        self._database_url = database_url
        self._destination = destination

    async def run(self) -> None:
        """For ever; faults are logged and tried again."""
        try:
            await run_forever(f"outbox to {self._destination.name}", self._relay, _RETRY_S)
        finally:
            await self._destination.close()

    async def _relay(self) -> None:
        connection = await asyncpg.connect(
            self._database_url, timeout=10, command_timeout=_STATEMENT_TIMEOUT_S
        )
        try:
            await self._wait_for_turn(connection)
            wakeups = await Wakeups.on(connection, "outbox")
            while True:
                wakeups.clear()
                if not await self._relay_batch(connection):
                    await wakeups.wait(_POLL_S)
        finally:
            await connection.close(timeout=5)

    async def _wait_for_turn(self, connection: asyncpg.Connection) -> None:
        # Not pg_advisory_lock(): the statement would keep its snapshot while it waits, for days perhaps, and
        # VACUUM could clean up nothing that has changed since.
        query = "SELECT pg_try_advisory_lock($1, hashtext(current_schema() || $2))"
        while True:
            if await connection.fetchval(query, _LOCK, self._destination.name):
                return
            await asyncio.sleep(_POLL_S)

    async def _relay_batch(self, connection: asyncpg.Connection) -> bool:
        """Deliver the oldest rows; returns whether there may be more, to look for at once."""
        rows = await connection.fetch(
            "SELECT outbox_id, topic, message_key, payload, snapshot_version FROM outbox"
            " WHERE destination = $1 ORDER BY outbox_id LIMIT $2",
            self._destination.name,
            _BATCH,
        )
        if not rows:
            return False
        try:
            await self._destination.deliver(rows)
        except Exception as error:  # whatever it is, the rows stay
            # The rows are read again instead of being delivered once more as they are: a relay that lost its
            # connection has lost its turn too, and would overwrite its successor's newer snapshots.
            log.warning("delivery waits", extra={"destination": self._destination.name, "error": repr(error)})
            await asyncio.sleep(_RETRY_S)
            return True
        metrics.counter(
            "ams_outbox_delivered", "Rows of the outbox that were delivered.", "destination"
        ).labels(self._destination.name).inc(len(rows))
        await connection.execute(
            "DELETE FROM outbox WHERE outbox_id = ANY($1)", [row["outbox_id"] for row in rows]
        )
        return len(rows) == _BATCH
