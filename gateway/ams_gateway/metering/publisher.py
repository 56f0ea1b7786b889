"""Reads the journals in order and hands their events to Kafka (topic usage.events, key = consumer id).

At least once, and never out of order for a consumer within one journal; what is sent twice carries the
same event id. Kafka being away stops the reading, nothing else.
"""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2
from ams.usage.v1 import events_pb2 as usage
from ams_common.topics import USAGE_EVENTS

from ams_gateway.metering.journal import Journal, JournalFiles, adopt
from ams_gateway.tasks import end_task

log = logging.getLogger(__name__)

_READ_BYTES = 256 * 1024
_BATCH_BYTES = 900_000
# Encoding yields to requests after so many events.
_YIELD_EVERY = 50
_LINGER_S = 0.1
_ADOPT_EVERY_S = 5.0
_BACKOFF_S = 0.5


class Publisher:
    def __init__(
        self, bootstrap_servers: str, journal: Journal, root: Path, *, topic: str = USAGE_EVENTS
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._journal = journal
        self._root = root
        self._topic = topic
        self._adopted: list[JournalFiles] = []
        self._adopted_at_s = 0.0
        self._producer: AIOKafkaProducer | None = None
        self._partitions: dict[str, int] = {}
        self._partition_ids: Sequence[int] = ()
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self.published_own = 0
        self.is_connected = False

    @property
    def unacknowledged(self) -> int:
        """Events of this worker that Kafka hasn't acknowledged; adopted ones are not counted."""
        return self._journal.appended - self.published_own

    async def open(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self, timeout_s: float = 10.0) -> None:
        """Goes on until the journal is empty, Kafka is away or the time is over; what is left stays on
        disk."""
        if self._task is None:
            return
        self._stopping.set()
        await asyncio.wait([self._task], timeout=timeout_s)
        await end_task(self._task)
        await self._disconnect()
        for files in self._adopted:
            files.close()

    async def _run(self) -> None:
        while True:
            try:
                if not await self._turn():
                    if self._stopping.is_set():
                        return
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), _LINGER_S)
            except Exception as error:
                # Whatever it is: without the publisher the journal fills up, and then nothing is served.
                log.warning("usage events can't be published now: %s", type(error).__name__)
                await self._disconnect()
                if self._stopping.is_set():
                    return
                await asyncio.sleep(_BACKOFF_S)

    async def _turn(self) -> bool:
        """One piece of each journal. False when there was nothing to do."""
        self._adopt()
        end = self._journal.end
        events, position = self._journal.files.read(_READ_BYTES, end)
        if events:
            await self._send(events)
            self._journal.acknowledge(position)
            self.published_own += len(events)
        busy = bool(events)
        for files in list(self._adopted):
            busy = await self._replay(files) or busy
        return busy

    def _adopt(self) -> None:
        now_s = time.monotonic()
        if self._stopping.is_set() or now_s - self._adopted_at_s < _ADOPT_EVERY_S:
            return
        self._adopted_at_s = now_s
        for files in adopt(self._root):
            log.info("journal taken over", extra={"journal": files.directory.name})
            self._adopted.append(files)
            self._journal.adopted_bytes = sum(each.size_bytes() for each in self._adopted)

    async def _replay(self, files: JournalFiles) -> bool:
        events, position = files.read(_READ_BYTES)
        if events:
            await self._send(events)
            files.acknowledge(position)
        else:
            log.info("journal replayed", extra={"journal": files.directory.name})
            self._adopted.remove(files)
            files.remove()
        self._journal.adopted_bytes = sum(each.size_bytes() for each in self._adopted)
        return bool(events)

    async def _send(self, events: list[bytes]) -> None:
        """Returns when Kafka has acknowledged them all."""
        producer = await self._connect()
        batches: defaultdict[int, Any] = defaultdict(producer.create_batch)
        for count, event in enumerate(events):
            consumer_id = usage.UsageEvent.FromString(event).consumer_id
            partition = self._partition_of(consumer_id)
            if batches[partition].append(timestamp=None, key=consumer_id.encode(), value=event) is None:
                raise ValueError("a piece of the journal is larger than a batch")
            if count % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)
        deliveries = [
            await producer.send_batch(batch, self._topic, partition=partition)
            for partition, batch in batches.items()
        ]
        await asyncio.gather(*deliveries)

    def _partition_of(self, consumer_id: str) -> int:
        """As the default partitioner chooses it, but remembered: hashing in Python is slow."""
        partition = self._partitions.get(consumer_id)
        if partition is None:
            if len(self._partitions) > 50_000:
                self._partitions.clear()
            index = (murmur2(consumer_id.encode()) & 0x7FFFFFFF) % len(self._partition_ids)
            partition = self._partitions[consumer_id] = self._partition_ids[index]
        return partition

    async def _connect(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap_servers,
                enable_idempotence=True,
                max_batch_size=_BATCH_BYTES,
                retry_backoff_ms=200,
            )
            try:
                await producer.start()
                partitions = sorted(await producer.partitions_for(self._topic))
            except BaseException:
                with contextlib.suppress(KafkaError, TimeoutError):
                    await asyncio.wait_for(producer.stop(), 5.0)
                raise
            self._producer = producer
            self._partition_ids = partitions
            self._partitions.clear()
            self.is_connected = True
        return self._producer

    async def _disconnect(self) -> None:
        producer, self._producer = self._producer, None
        self.is_connected = False
        if producer is not None:
            with contextlib.suppress(KafkaError, TimeoutError, OSError):
                await asyncio.wait_for(producer.stop(), 2.0)
