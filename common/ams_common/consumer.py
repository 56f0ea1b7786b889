"""The Kafka consumer: effects and offsets are committed together in PostgreSQL.

It starts from the stored offset, so redelivery, a crash and a rebalance change no figure. A message
that can't be processed goes to `dead_letters` and doesn't stop its partition; a fault that will pass
(the database away) is waited out.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import asyncpg
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from google.protobuf.message import Message

from ams_common import metrics
from ams_common.database import Change, Database
from ams_common.faults import PASSING_FAULTS
from ams_common.loops import run_forever

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)

_BATCH = 1000
_POLL_MS = 500
_RETRY_S = 0.5


@dataclass(frozen=True, slots=True)
class Subscription(Generic[M]):
    """What is done with the messages of a topic: `handle` gets them parsed, in the order of their
    partition, within the transaction that also moves the offset. Its errors dead-letter messages."""

    topic: str
    message_type: type[M]
    handle: Callable[[Change, Sequence[M]], Awaitable[None]]


class EventConsumer:
    """Reads the topics of `subscriptions` as the consumer group `group`."""

    def __init__(
        self,
        database: Database,
        bootstrap_servers: str,
        group: str,
        subscriptions: Sequence[Subscription[Any]],
        topic_prefix: str = "",
    ) -> None:
        self._database = database
        self._bootstrap_servers = bootstrap_servers
        self._group = topic_prefix + group
        self._subscriptions = {topic_prefix + s.topic: s for s in subscriptions}

    async def run(self) -> None:
        """For ever; faults are logged and tried again from the stored offsets."""
        await run_forever(f"consumer {self._group}", self._consume, _RETRY_S)

    async def _consume(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap_servers,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # How long a killed process keeps its partitions: the least that brokers allow by default.
            session_timeout_ms=6_000,
            heartbeat_interval_ms=1_500,
            metadata_max_age_ms=5_000,
            max_poll_records=_BATCH,
        )
        seeker = _SeekStored(consumer, self._database)
        try:
            await consumer.start()
            consumer.subscribe(list(self._subscriptions), listener=seeker)
            while True:
                batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_BATCH)
                if seeker.fault is not None:
                    raise seeker.fault
                for partition, records in batches.items():
                    await self._process(partition, records)
        finally:
            await consumer.stop()

    async def _process(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        subscription = self._subscriptions[partition.topic]
        try:
            await self._process_together(subscription, partition, records)
        except PASSING_FAULTS:
            raise
        except Exception:
            # One of them is bad: take them one by one, so that the others are not held up.
            log.exception("batch failed", extra={"topic": partition.topic, "partition": partition.partition})
            for record in records:
                await self._process_alone(subscription, partition, record)

    async def _process_together(
        self, subscription: Subscription[M], partition: TopicPartition, records: Sequence[ConsumerRecord]
    ) -> None:
        async with self._database.change_by_system(f"consume {partition.topic}", audited=False) as change:
            next_offset = await _lock_offset(change.connection, partition)
            new = [record for record in records if record.offset >= next_offset]
            if new:
                await subscription.handle(
                    change, [subscription.message_type.FromString(r.value) for r in new]
                )
                await _store_offset(change.connection, partition, new[-1].offset + 1)
        _count(partition, "applied", len(new))

    async def _process_alone(
        self, subscription: Subscription[M], partition: TopicPartition, record: ConsumerRecord
    ) -> None:
        try:
            await self._process_together(subscription, partition, [record])
        except PASSING_FAULTS:
            raise
        except Exception as error:
            where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            log.exception("message dead-lettered", extra=where)
            await self._dead_letter(partition, record, error)

    async def _dead_letter(self, partition: TopicPartition, record: ConsumerRecord, error: Exception) -> None:
        async with self._database.change_by_system(f"dead-letter {partition.topic}", audited=False) as change:
            if record.offset < await _lock_offset(change.connection, partition):
                return
            await change.connection.execute(
                "INSERT INTO dead_letters (topic, partition, message_offset, message_key, payload, error)"
                " VALUES ($1, $2, $3, $4, $5, $6)",
                record.topic,
                record.partition,
                record.offset,
                record.key,
                record.value,
                repr(error)[:2000],
            )
            await _store_offset(change.connection, partition, record.offset + 1)
        _count(partition, "dead_lettered", 1)


def _count(partition: TopicPartition, outcome: str, messages: int) -> None:
    metrics.counter(
        "ams_events", "Messages of Kafka that were taken in, by outcome.", "topic", "outcome"
    ).labels(partition.topic, outcome).inc(messages)


class _SeekStored(ConsumerRebalanceListener):  # type: ignore[misc]
    """Starts each partition that this process is given from its stored offset."""

    def __init__(self, consumer: AIOKafkaConsumer, database: Database) -> None:
        self._consumer = consumer
        self._database = database
        # Kafka's client only logs what a listener raises, and reads from the beginning.
        self.fault: Exception | None = None

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Nothing: offsets are in PostgreSQL, and a late batch finds them moved on."""

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        if not assigned:
            return
        try:
            await self._seek(assigned)
        except Exception as error:
            self.fault = error

    async def _seek(self, assigned: Sequence[TopicPartition]) -> None:
        begins = await self._consumer.beginning_offsets(list(assigned))
        ends = await self._consumer.end_offsets(list(assigned))
        async with self._database.connection() as connection:
            for partition in assigned:
                next_offset = await _stored_offset(connection, partition)
                if next_offset > ends[partition]:
                    # The topic was made anew: its offsets begin again. Deduplication is by id.
                    log.error("topic is shorter than what was read of it", extra={"topic": partition.topic})
                    next_offset = 0
                    await _store_offset(connection, partition, 0)
                if next_offset < begins[partition]:
                    # Kafka's client would go on behind the gap without a word.
                    gap = {"topic": partition.topic, "messages": begins[partition] - next_offset}
                    log.critical("messages were dropped before they were read", extra=gap)
                self._consumer.seek(partition, next_offset)


async def _stored_offset(connection: asyncpg.Connection, partition: TopicPartition) -> int:
    offset = await connection.fetchval(
        "SELECT next_offset FROM consumer_offsets WHERE topic = $1 AND partition = $2",
        partition.topic,
        partition.partition,
    )
    return offset or 0


async def _lock_offset(connection: asyncpg.Connection, partition: TopicPartition) -> int:
    """Where to go on; the row stays locked, so a second process with the same partition waits and then
    finds it moved on."""
    await connection.execute(
        "INSERT INTO consumer_offsets (topic, partition, next_offset) VALUES ($1, $2, 0)"
        " ON CONFLICT DO NOTHING",
        partition.topic,
        partition.partition,
    )
    offset: int = await connection.fetchval(
        "SELECT next_offset FROM consumer_offsets WHERE topic = $1 AND partition = $2 FOR UPDATE",
        partition.topic,
        partition.partition,
    )
    return offset


async def _store_offset(connection: asyncpg.Connection, partition: TopicPartition, next_offset: int) -> None:
    await connection.execute(
        "UPDATE consumer_offsets SET next_offset = $3 WHERE topic = $1 AND partition = $2",
        partition.topic,
        partition.partition,
        next_offset,
    )
