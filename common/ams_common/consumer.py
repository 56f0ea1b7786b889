"""The Kafka consumer: effects and offsets are committed together in PostgreSQL.

It starts from the stored offset, so redelivery, a crash and a rebalance change no figure. A message
that can't be applied goes to `dead_letters` and doesn't stop its partition; a fault that will pass
(the database away) is waited out. Partitions are read side by side, and a partition's next batch is
parsed while the database is at the one before.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition

from ams_common import metrics, offsets
from ams_common.database import Database
from ams_common.dead_letters import DeadLetters
from ams_common.faults import PASSING_FAULTS, TryAgainError
from ams_common.loops import run_forever
from ams_common.server import cancel, finish
from ams_common.subscriptions import Batch, Record, Rejection, Subscription, TopicHandler
from ams_common.topic_ids import TopicIds

__all__ = ["EventConsumer", "Subscription"]

log = logging.getLogger(__name__)

_POLL_MS = 500
_RETRY_S = 0.5
# How long Kafka may take to let a member of the group go.
_STOP_S = 5.0
# What is fetched of a partition at once: some seven thousand usage events.
_FETCH_BYTES = 2 * 1024 * 1024
_MAX_RECORDS = 10_000
# The most that becomes one batch. A reader that keeps up gets what has come since, which is far less.
_MAX_BATCH_BYTES = 16 * 1024 * 1024
# How long a batch grows while Kafka has more of its partition; and where it has so many records more that
# nobody waits for the next of them.
_GATHER_S = 0.5
_GATHER_FAR_BEHIND_S = 3.0
_FAR_BEHIND_RECORDS = 10_000
# A batch whose transaction took too long: a smaller one may not.
_TIMEOUTS = (TimeoutError, asyncpg.QueryCanceledError)
# Of how many partitions batches grow and are applied at once: the others of the pool's connections are for
# questions. With what each partition has read ahead, a fetch in Kafka's client and two prepared, this bounds
# the memory of a process that is far behind.
_SIDE_BY_SIDE = 2
_NO_PARTITION = TopicPartition("", -1)


class TopicMadeAnewError(TryAgainError):
    """The topic isn't the one any more that its records were read from: read on from its beginning."""


class EventConsumer:
    """Reads the topics of `handlers` as the consumer group `group`."""

    def __init__(
        self,
        database: Database,
        bootstrap_servers: str,
        group: str,
        handlers: Sequence[TopicHandler[Any]],
        topic_prefix: str = "",
    ) -> None:
        self._database = database
        self._bootstrap_servers = bootstrap_servers
        self._group = topic_prefix + group
        self._handlers = {topic_prefix + handler.topic: handler for handler in handlers}
        self.dead_letters = DeadLetters(database, handlers, topic_prefix)

    async def run(self) -> None:
        """For ever; faults are logged and tried again from the stored offsets."""
        await run_forever(f"consumer {self._group}", self._consume, _RETRY_S)

    async def _consume(self) -> None:
        await self.dead_letters.retry_those_of_other_releases()
        async with TopicIds.of(self._bootstrap_servers) as topic_ids:
            # Not before: who is cancelled while that is opened has nothing to close.
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._bootstrap_servers,
                group_id=self._group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                # How long a killed process keeps its partitions: the least that brokers allow by default.
                session_timeout_ms=6_000,
                heartbeat_interval_ms=1_500,
                metadata_max_age_ms=5_000,
                max_partition_fetch_bytes=_FETCH_BYTES,
            )
            readers = _Readers(consumer, topic_ids, self._database, self._handlers, self.dead_letters)
            try:
                await consumer.start()
                consumer.subscribe(list(self._handlers), listener=readers)
                while not readers.fault.done():
                    # Nothing is read here: this says that the group's member is alive, and raises its errors.
                    await consumer.getmany(_NO_PARTITION, timeout_ms=_POLL_MS)
                raise readers.fault.result()
            finally:
                # Who cancels does so again when it takes long: each is begun all the same, and the client
                # closes its connections.
                try:
                    await readers.stop()
                finally:
                    await finish(consumer.stop(), _STOP_S)


class _Readers(ConsumerRebalanceListener):  # type: ignore[misc]
    """A reader for each partition that this process is given, from its stored offset."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        topic_ids: TopicIds,
        database: Database,
        handlers: Mapping[str, TopicHandler[Any]],
        dead_letters: DeadLetters,
    ) -> None:
        self._consumer = consumer
        self._topic_ids = topic_ids
        self._database = database
        self._handlers = handlers
        self._dead_letters = dead_letters
        self._tasks: list[asyncio.Task[None]] = []
        self._turns = asyncio.Semaphore(_SIDE_BY_SIDE)
        # The first exception of a reader, or of this listener: Kafka's client would only log that, and read
        # from the beginning.
        self.fault: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
        """Ends all readers; what a batch has not committed is undone."""
        await cancel(self._tasks)
        self._tasks.clear()

    async def on_partitions_revoked(self, revoked: Any) -> None:
        await self.stop()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        try:
            incarnations = {
                topic: await self._topic_ids.id_of(topic) for topic in {each.topic for each in assigned}
            }
            if assigned:
                await self._seek(assigned, incarnations)
        except Exception as error:
            self._fail(error)
            return
        for partition in assigned:
            reader = _Reader(
                self._consumer,
                partition,
                incarnations[partition.topic],
                self._topic_ids,
                self._database,
                self._handlers[partition.topic],
                self._dead_letters,
                self._turns,
            )
            task = asyncio.create_task(reader.run())
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self.fault.done():
            self.fault.set_result(error)

    async def _seek(self, assigned: Sequence[TopicPartition], incarnations: Mapping[str, str]) -> None:
        begins = await self._consumer.beginning_offsets(list(assigned))
        ends = await self._consumer.end_offsets(list(assigned))
        async with self._database.connection() as connection:
            for partition in assigned:
                incarnation = incarnations[partition.topic]
                next_offset = await offsets.start(
                    connection, partition.topic, partition.partition, incarnation, ends[partition]
                )
                if next_offset < begins[partition]:
                    # Kafka's client would go on behind the gap without a word.
                    gap = {"topic": partition.topic, "messages": begins[partition] - next_offset}
                    log.critical("messages were dropped before they were read", extra=gap)
                self._consumer.seek(partition, next_offset)


class _Reader:
    """Applies the records of one partition, batch by batch."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        partition: TopicPartition,
        incarnation: str,
        topic_ids: TopicIds,
        database: Database,
        handler: TopicHandler[Any],
        dead_letters: DeadLetters,
        turns: asyncio.Semaphore,
    ) -> None:
        self._consumer = consumer
        self._partition = partition
        self._incarnation = incarnation
        self._topic_ids = topic_ids
        self._database = database
        self._handler = handler
        self._dead_letters = dead_letters
        self._turns = turns
        self._source = f"{incarnation}/{partition.partition}"
        self._max_bytes = _MAX_BATCH_BYTES
        self._read_to = 0

    async def run(self) -> None:
        """Until it is cancelled, or a fault that passes."""
        pieces: asyncio.Queue[_Piece] = asyncio.Queue(1)
        halves = [asyncio.create_task(work) for work in (self._read_into(pieces), self._apply_from(pieces))]
        try:
            await asyncio.gather(*halves)
        finally:
            await cancel(halves)

    async def _read_into(self, pieces: "asyncio.Queue[_Piece]") -> None:
        while True:
            if not (fetched := await self._fetch()):
                continue
            # After fetching: what was read may be of a topic that was made anew since this reader began.
            checking = asyncio.ensure_future(self._check_incarnation())
            try:
                for records in _cut(fetched, self._max_bytes):
                    # In a thread: the loop goes on with what the database, Kafka and others say meanwhile.
                    piece = await asyncio.to_thread(self._prepare, records)
                    await checking
                    await pieces.put(piece)
            finally:
                await cancel([checking])

    async def _apply_from(self, pieces: "asyncio.Queue[_Piece]") -> None:
        while True:
            batch = [await pieces.get()]
            async with self._turns:
                await self._gather(batch, pieces)
                if len(batch) > 1:
                    # Its parts are not needed any more.
                    batch = [await asyncio.to_thread(self._merge, batch)]
                await self._apply(batch.pop())

    async def _gather(self, batch: "list[_Piece]", pieces: "asyncio.Queue[_Piece]") -> None:
        """Adds to a batch what can be had soon: the more records it has, the fewer rows each of them
        touches."""
        size_bytes = batch[0].size_bytes
        is_far_behind = self._records_behind() >= _FAR_BEHIND_RECORDS
        until_s = time.monotonic() + (_GATHER_FAR_BEHIND_S if is_far_behind else _GATHER_S)
        while size_bytes < self._max_bytes and (not pieces.empty() or self._records_behind()):
            try:
                async with asyncio.timeout(until_s - time.monotonic()):
                    batch.append(await pieces.get())
            except TimeoutError:
                break
            size_bytes += batch[-1].size_bytes

    def _records_behind(self) -> int:
        """How many records Kafka has of the partition behind the last that was read."""
        if self._partition not in self._consumer.assignment():
            return 0
        return max(0, (self._consumer.highwater(self._partition) or 0) - self._read_to)

    def _prepare(self, records: Sequence[Record]) -> "_Piece":
        prepared, rejections = self._handler.prepare(Batch(self._source, records))
        return _Piece(records, prepared, rejections)

    def _merge(self, pieces: "Sequence[_Piece]") -> "_Piece":
        return _Piece(
            [record for piece in pieces for record in piece.records],
            self._handler.merge([piece.prepared for piece in pieces]),
            [rejection for piece in pieces for rejection in piece.rejections],
        )

    async def _fetch(self) -> list[Record]:
        fetched: Mapping[TopicPartition, Sequence[ConsumerRecord]] = await self._consumer.getmany(
            self._partition, timeout_ms=_POLL_MS, max_records=_MAX_RECORDS
        )
        records = fetched.get(self._partition, ())
        if records:
            self._read_to = records[-1].offset + 1
        return [Record(each.offset, each.key, each.value or b"") for each in records]

    async def _check_incarnation(self) -> None:
        """Raises TopicMadeAnewError."""
        if await self._topic_ids.id_of(self._partition.topic) != self._incarnation:
            raise TopicMadeAnewError(self._partition.topic)

    async def _apply(self, piece: "_Piece") -> None:
        """Together if that can be; else halves, so that one bad record of n costs log n more transactions."""
        records = piece.records
        try:
            await self._apply_together(piece)
        except _TIMEOUTS as error:
            if len(records) == 1:
                raise
            self._max_bytes = max(1, piece.size_bytes // 2)
            log.warning("batch took too long", extra=self._where(records, error))
        except PASSING_FAULTS:
            raise
        except Exception as error:
            if len(records) == 1:
                rejection = Rejection(records[0], repr(error))
                await self._apply_together(_Piece(records, None, [rejection]))
                return
            log.warning("batch failed", extra=self._where(records, error))
        else:
            self._max_bytes = min(2 * self._max_bytes, _MAX_BATCH_BYTES)
            return
        middle = len(records) // 2
        for half in (records[:middle], records[middle:]):
            await self._apply(self._prepare(half))

    async def _apply_together(self, piece: "_Piece") -> None:
        topic, partition = self._partition.topic, self._partition.partition
        if piece.prepared is not None:
            # Not within the transaction: with two connections each, all could wait for each other's second.
            await self._handler.make_ready(piece.prepared)
        async with self._database.change_by_system(f"consume {topic}", audited=False) as change:
            next_offset = await offsets.lock(change.connection, topic, partition, self._incarnation)
            if next_offset is None:
                raise TopicMadeAnewError(topic)
            if piece.records[0].offset < next_offset:
                # Another process had this partition, and has applied some.
                piece = self._prepare([record for record in piece.records if record.offset >= next_offset])
            if not piece.records:
                return
            if piece.prepared is not None:
                await self._handler.apply(change, piece.prepared)
            await self._dead_letters.keep(change, topic, partition, self._incarnation, piece.rejections)
            await offsets.store(change.connection, topic, partition, piece.records[-1].offset + 1)
        counter = metrics.counter("ams_events", "Records of Kafka that were taken in.", "topic")
        counter.labels(topic).inc(len(piece.records))

    def _where(self, records: Sequence[Record], error: BaseException) -> dict[str, object]:
        return {
            "topic": self._partition.topic,
            "partition": self._partition.partition,
            "offset": records[0].offset,
            "records": len(records),
            "error": repr(error),
        }


@dataclass(frozen=True, slots=True)
class _Piece:
    """Records of a partition that follow each other, prepared for the database."""

    records: Sequence[Record]
    prepared: Any  # None: there is nothing to apply
    rejections: Sequence[Rejection]

    @property
    def size_bytes(self) -> int:
        return sum(len(record.value) for record in self.records)


def _cut(records: Sequence[Record], max_bytes: int) -> Iterator[list[Record]]:
    """The records in pieces of at most `max_bytes`, or of one record."""
    piece: list[Record] = []
    size_bytes = 0
    for record in records:
        if piece and size_bytes + len(record.value) > max_bytes:
            yield piece
            piece, size_bytes = [], 0
        piece.append(record)
        size_bytes += len(record.value)
    if piece:
        yield piece
