"""Hands the journals' events to Kafka, a turn a few times a second: this worker's own, and dead workers'.

At least once, and never out of order for a consumer within one journal; what is sent twice carries the same
event id. Beside them it tells how many events there have been (teller.py). Kafka being away stops this,
nothing else.
"""

import asyncio
import contextlib
import logging
import time
from pathlib import Path

from ams_common.topics import USAGE_EVENTS, USAGE_FORWARDED

from ams_gateway.metering.delivery import Delivery, records_of
from ams_gateway.metering.files import JournalFiles, adopt
from ams_gateway.metering.journal import Journal, by_consumer
from ams_gateway.metering.kept import KeptSegments, keep_nothing
from ams_gateway.metering.teller import Teller
from ams_gateway.tasks import end_task

log = logging.getLogger(__name__)

# What one turn reads of a file: reading it holds the event loop up for half a millisecond.
_READ_BYTES = 128 * 1024
# The longer a turn gathers, the more events share a record; usage is to be seen within a second.
_TURN_S = 0.1
_ADOPT_EVERY_S = 5.0
_BACKOFF_S = 0.5
_ROOM_EVERY_S = 0.25
_PROBE_EVERY_S = 2.0
_EXPIRE_EVERY_S = 60.0


class Publisher:
    def __init__(
        self,
        bootstrap_servers: str,
        journal: Journal,
        root: Path,
        *,
        topic_prefix: str = "",
        kept: KeptSegments | None = None,
    ) -> None:
        """`kept`: where segments go when they are acknowledged; None: nowhere."""
        self._topic = topic_prefix + USAGE_EVENTS
        self._delivery = Delivery(bootstrap_servers, self._topic)
        self._teller = Teller(self._delivery, topic_prefix + USAGE_FORWARDED, journal)
        self._kept = kept or keep_nothing(root)
        self._journal = journal
        self._root = root
        self._adopted: list[JournalFiles] = []
        self._adopted_at_s = float("-inf")
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self.published_own = 0

    @property
    def unacknowledged(self) -> int:
        """Events of this worker that Kafka hasn't acknowledged; adopted ones are not counted."""
        return self._journal.appended - self.published_own

    @property
    def is_connected(self) -> bool:
        """Whether Kafka answers."""
        return self._delivery.is_up

    async def open(self) -> None:
        works = self._run, self._keep_room, self._probe, self._expire, self._teller.run
        self._tasks = [asyncio.create_task(work()) for work in works]

    async def close(self, timeout_s: float = 10.0) -> None:
        """Goes on until the journal is empty and all of it told, Kafka is away or the time is over; what is
        left stays on disk."""
        if not self._tasks:
            return
        self._stopping.set()
        ends_at_s = time.monotonic() + timeout_s
        await asyncio.wait(self._tasks[:1], timeout=timeout_s)
        for task in self._tasks:
            await end_task(task)
        if self.is_connected:
            await self._teller.tell_last(ends_at_s - time.monotonic())
        await self._delivery.disconnect()
        for files in self._adopted:
            files.close()

    async def _keep_room(self) -> None:
        """Beside the turns, which wait while Kafka is away."""
        while True:
            self._journal.keep_room()
            await asyncio.sleep(_ROOM_EVERY_S)

    async def _expire(self) -> None:
        while True:
            # It asks the disk about every file.
            await asyncio.to_thread(self._kept.expire, time.time())
            await asyncio.sleep(_EXPIRE_EVERY_S)

    async def _probe(self) -> None:
        while True:
            await self._delivery.probe()
            await asyncio.sleep(_PROBE_EVERY_S)

    async def _run(self) -> None:
        while True:
            began_s = time.monotonic()
            try:
                is_behind = await self._turn()
            except Exception as error:
                # Whatever it is: without the publisher the journal fills up, and then nothing is served.
                log.warning("usage events can't be published now: %s", type(error).__name__)
                await self._delivery.disconnect()
                if self._stopping.is_set():
                    return
                await asyncio.sleep(_BACKOFF_S)
                continue
            if is_behind:
                continue
            if self._stopping.is_set():
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), began_s + _TURN_S - time.monotonic())

    async def _turn(self) -> bool:
        """A piece of each journal. Whether there is more to send than what comes in."""
        await self._delivery.connect()
        self._adopt()
        is_behind = await self._publish_own()
        for files in list(self._adopted):
            is_behind = await self._replay(files) or is_behind
        return is_behind

    async def _publish_own(self) -> bool:
        groups, count, position = self._journal.take(_READ_BYTES)
        if count:
            await self._delivery.send(self._topic, records_of(groups))
            self.published_own += count
        if position != self._journal.acked:
            self._journal.acknowledge(position)
        return position < self._journal.end and (self._stopping.is_set() or not self._journal.is_recent)

    def _adopt(self) -> None:
        now_s = time.monotonic()
        if self._stopping.is_set() or now_s - self._adopted_at_s < _ADOPT_EVERY_S:
            return
        self._adopted_at_s = now_s
        for files in adopt(self._root, self._kept):
            log.info("journal taken over", extra={"journal": files.directory.name})
            self._adopted.append(files)
            self._teller.tell_of(files)
        self._count_adopted()

    def _count_adopted(self) -> None:
        self._journal.adopted_bytes = sum(each.size_bytes() for each in self._adopted)

    async def _replay(self, files: JournalFiles) -> bool:
        """A piece of a dead worker's journal; nothing until it was told how many events that has had, for
        afterwards its segments are gone."""
        if not self._teller.has_told(files):
            return False
        try:
            events, position = files.read(_READ_BYTES)
        except OSError as error:
            # Given back, and taken over with the next look round: it keeps no other from being published.
            log.critical("journal can't be read", extra={"error": repr(error)})
            self._adopted.remove(files)
            files.close()
            return False
        if events:
            await self._delivery.send(self._topic, records_of(by_consumer(events)))
            held = len(files.segments)
            files.acknowledge(position)
            # Counting asks the disk about every segment: only when there is one less.
            if len(files.segments) == held:
                return True
        else:
            log.info("journal replayed", extra={"journal": files.directory.name})
            self._adopted.remove(files)
            files.remove()
        self._count_adopted()
        return bool(events)
