"""Records on their way to Kafka, keyed by consumer. One of usage.events holds many of a consumer's events.

The producer is idempotent and never lets a send fail: while Kafka is away it waits. Whether Kafka is up is
therefore judged by how long it has owed an answer.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from ams_gateway.metering.encoding import frame_event

# One request to Kafka has a batch for each partition, and is written to the socket in one go: larger ones
# would hold the event loop up for milliseconds.
_BATCH_BYTES = 64_000
_RECORD_BYTES = 32_000
_RECORD_EVENTS = 500
# Putting records together yields to requests after so long.
_PIECE_S = 0.001
# Kafka answers in milliseconds; an election of partition leaders takes a second or two.
_ANSWER_S = 5.0


def record_values(consumer_id: str, events: Sequence[bytes]) -> Iterator[bytes]:
    """The events as values of Kafka records, each a UsageEventBatch of bounded size, in order.

    What couldn't be read as somebody's event goes alone and as it is: usage-svc keeps it, and no other, among
    its dead letters.
    """
    if not consumer_id:
        yield from events
        return
    parts: list[bytes] = []
    size_bytes = 0
    for event in events:
        if parts and (size_bytes + len(event) > _RECORD_BYTES or len(parts) >= 2 * _RECORD_EVENTS):
            yield b"".join(parts)
            parts, size_bytes = [], 0
        parts += frame_event(event), event
        size_bytes += len(event) + 4
    if parts:
        yield b"".join(parts)


def records_of(groups: Mapping[str, Sequence[bytes]]) -> Iterator[tuple[str, bytes]]:
    """Each consumer's events as records: its id, and a value."""
    for consumer_id, events in groups.items():
        for value in record_values(consumer_id, events):
            yield consumer_id, value


def is_answering(
    *, is_connected: bool, probe_failed: bool, waiting_since_s: float | None, now_s: float
) -> bool:
    """Whether Kafka is up: it was reached, answered when it was last asked, and owes no old answer."""
    if not is_connected or probe_failed:
        return False
    return waiting_since_s is None or now_s - waiting_since_s < _ANSWER_S


class _Partitions:
    """Where a topic's records go: as the default partitioner chooses it, but remembered, for hashing in
    Python is slow."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids = ids
        self._chosen: dict[str, int] = {}

    def of(self, consumer_id: str) -> int:
        partition = self._chosen.get(consumer_id)
        if partition is None:
            if len(self._chosen) > 50_000:
                self._chosen.clear()
            index = (murmur2(consumer_id.encode()) & 0x7FFFFFFF) % len(self._ids)
            partition = self._chosen[consumer_id] = self._ids[index]
        return partition


class Delivery:
    """`topic` is what it connects for: one that isn't there is as good as no Kafka."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._topic = topic
        self._producer: AIOKafkaProducer | None = None
        self._connecting = asyncio.Lock()
        self._partitions: dict[str, _Partitions] = {}
        # Of each send that Kafka hasn't acknowledged.
        self._waiting_since_s: list[float] = []
        self._probe_failed = False

    @property
    def is_up(self) -> bool:
        return is_answering(
            is_connected=self._producer is not None,
            probe_failed=self._probe_failed,
            waiting_since_s=min(self._waiting_since_s, default=None),
            now_s=time.monotonic(),
        )

    async def connect(self) -> AIOKafkaProducer:
        async with self._connecting:
            if self._producer is not None:
                return self._producer
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap_servers,
                enable_idempotence=True,
                max_batch_size=_BATCH_BYTES,
                retry_backoff_ms=200,
            )
            try:
                await producer.start()
                partitions = _Partitions(sorted(await producer.partitions_for(self._topic)))
            except BaseException:
                with contextlib.suppress(KafkaError, TimeoutError):
                    await asyncio.wait_for(producer.stop(), 5.0)
                raise
            self._producer = producer
            self._partitions = {self._topic: partitions}
            self._probe_failed = False
            return producer

    async def disconnect(self) -> None:
        """What hasn't been acknowledged may never be: who waits for it must have a time-out."""
        producer, self._producer = self._producer, None
        self._waiting_since_s.clear()
        if producer is not None:
            with contextlib.suppress(KafkaError, TimeoutError, OSError):
                await asyncio.wait_for(producer.stop(), 2.0)

    async def probe(self) -> None:
        """Ask Kafka something, so that an outage shows when there is nothing to send too."""
        if self._producer is None:
            return
        try:
            answered = await asyncio.wait_for(self._producer.client.force_metadata_update(), _ANSWER_S / 2)
        except (KafkaError, TimeoutError, OSError):
            answered = False
        self._probe_failed = not answered

    async def send(self, topic: str, records: Iterable[tuple[str, bytes]]) -> None:
        """Send values by consumer; returns when Kafka has acknowledged them all."""
        producer = await self.connect()
        partitions = self._partitions.get(topic)
        if partitions is None:
            partitions = _Partitions(sorted(await producer.partitions_for(topic)))
            self._partitions[topic] = partitions
        waiting_since_s = time.monotonic()
        self._waiting_since_s.append(waiting_since_s)
        try:
            await asyncio.gather(*await self._hand_over(producer, topic, partitions, records))
        finally:
            with contextlib.suppress(ValueError):
                self._waiting_since_s.remove(waiting_since_s)

    async def _hand_over(
        self,
        producer: AIOKafkaProducer,
        topic: str,
        partitions: _Partitions,
        records: Iterable[tuple[str, bytes]],
    ) -> list[asyncio.Future[Any]]:
        deliveries = []
        batches: dict[int, Any] = {}
        yielded_s = time.perf_counter()
        for consumer_id, value in records:
            key, partition = consumer_id.encode(), partitions.of(consumer_id)
            batch = batches.get(partition)
            if batch is None:
                batch = batches[partition] = producer.create_batch()
            if batch.append(timestamp=None, key=key, value=value) is None:
                deliveries.append(await producer.send_batch(batch, topic, partition=partition))
                batch = batches[partition] = producer.create_batch()
                batch.append(timestamp=None, key=key, value=value)
            if time.perf_counter() - yielded_s > _PIECE_S:
                await asyncio.sleep(0)
                yielded_s = time.perf_counter()
        for partition, batch in batches.items():
            deliveries.append(await producer.send_batch(batch, topic, partition=partition))
        return deliveries
