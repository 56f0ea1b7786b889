"""The publisher goes on, whatever it meets, and tells whether Kafka answers."""

import asyncio
from collections import defaultdict
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from ams.usage.v1 import events_pb2 as usage
from ams_common.ports import free_port
from ams_common.testing.eventually import eventually
from ams_common.topics import USAGE_EVENTS
from ams_gateway.metering.delivery import is_answering
from ams_gateway.metering.journal import Journal, JournalLimits
from ams_gateway.metering.publisher import Publisher


@pytest.fixture
def topic(topic_prefix: str) -> str:
    return topic_prefix + USAGE_EVENTS


async def published(bootstrap: str, topic: str, count: int) -> list[tuple[str, bytes]]:
    """Key and value of every record, once there are `count` of them at least."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    found: list[tuple[str, bytes]] = []

    async def enough() -> bool:
        for records in (await consumer.getmany(timeout_ms=200)).values():
            found.extend((record.key.decode(), record.value) for record in records)
        return len(found) >= count

    try:
        await eventually(enough, timeout_s=30)
    finally:
        await consumer.stop()
    return found


def left_in(root: Path) -> list[str]:
    return [path.name for path in root.iterdir()]


def break_segment(journal: Journal) -> str:
    """Its journal's name."""
    assert journal.directory is not None
    segment = journal.directory / "00000001.seg"
    segment.unlink()
    segment.mkdir()
    return journal.directory.name


def write(journal: Journal, consumer_id: str) -> None:
    event = usage.UsageEvent(consumer_id=consumer_id, sequence=journal.appended + 1)
    journal.append(consumer_id, event.SerializeToString())


@pytest.mark.parametrize("max_recent", [0, 10_000], ids=["files", "memory"])
async def test_a_turns_events_of_a_consumer_share_a_record_and_keep_their_order(
    tmp_path: Path, kafka_bootstrap: str, topic: str, max_recent: int
) -> None:
    journal = Journal(tmp_path, JournalLimits(max_recent=max_recent))
    publisher = Publisher(kafka_bootstrap, journal, tmp_path, topic_prefix=topic.removesuffix(USAGE_EVENTS))
    for _ in range(300):
        for consumer_id in ("one", "two", "three"):
            write(journal, consumer_id)

    async def all_published() -> bool:
        return publisher.unacknowledged == 0

    await publisher.open()
    try:
        await eventually(all_published, timeout_s=30)
        records = await published(kafka_bootstrap, topic, 3)
    finally:
        await publisher.close(timeout_s=5)
        journal.close()
    # The file holds all but the last of them: those came with a second turn.
    assert len(records) <= 6
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for key, value in records:
        for event in usage.UsageEventBatch.FromString(value).events:
            assert event.consumer_id == key
            numbers[key].append(event.sequence)
    assert [numbers[key] for key in ("one", "two", "three")] == [
        list(range(first, 901, 3)) for first in (1, 2, 3)
    ]
    assert left_in(tmp_path) == []


async def test_what_is_no_event_is_published_as_it_is_and_keeps_no_other_back(
    tmp_path: Path, kafka_bootstrap: str, topic: str
) -> None:
    """usage-svc keeps it among its dead letters, where it is seen."""
    foreign = Journal(tmp_path, JournalLimits())
    foreign.append("c", b"\xff is no event")
    write(foreign, "behind")
    foreign.close()
    journal = Journal(tmp_path, JournalLimits())
    publisher = Publisher(kafka_bootstrap, journal, tmp_path, topic_prefix=topic.removesuffix(USAGE_EVENTS))
    write(journal, "own")
    await publisher.open()
    try:
        records = await published(kafka_bootstrap, topic, 3)
    finally:
        await publisher.close(timeout_s=5)
        journal.close()
    assert sorted(key for key, _ in records) == ["", "behind", "own"]
    assert dict(records)[""] == b"\xff is no event"
    assert left_in(tmp_path) == []


async def test_a_journal_that_cant_be_read_keeps_no_other_from_being_published(
    tmp_path: Path, kafka_bootstrap: str, topic: str
) -> None:
    broken = Journal(tmp_path, JournalLimits())
    write(broken, "c")
    broken.close()
    name = break_segment(broken)
    journal = Journal(tmp_path, JournalLimits())
    publisher = Publisher(kafka_bootstrap, journal, tmp_path, topic_prefix=topic.removesuffix(USAGE_EVENTS))
    await publisher.open()

    async def all_published() -> bool:
        return publisher.unacknowledged == 0

    try:
        for _ in range(3):
            write(journal, "somebody")
            await eventually(all_published, timeout_s=30)
    finally:
        await publisher.close(timeout_s=5)
        journal.close()
    assert left_in(tmp_path) == [name]


async def test_kafka_is_up_once_it_is_reached_and_not_while_it_is_away(
    tmp_path: Path, kafka_bootstrap: str, topic: str
) -> None:
    """Before the first event too: a gateway without calls must not look like one without Kafka."""
    for bootstrap, up in ((kafka_bootstrap, True), (f"127.0.0.1:{free_port()}", False)):
        journal = Journal(tmp_path, JournalLimits())
        publisher = Publisher(bootstrap, journal, tmp_path, topic_prefix=topic.removesuffix(USAGE_EVENTS))
        assert not publisher.is_connected
        await publisher.open()

        async def is_up(publisher: Publisher = publisher) -> bool:
            return publisher.is_connected

        try:
            if up:
                await eventually(is_up, timeout_s=30)
            assert publisher.is_connected == up
        finally:
            await publisher.close(timeout_s=0.1)
            journal.close()


@pytest.mark.parametrize(
    ("is_connected", "probe_failed", "waiting_since_s", "up"),
    [
        (False, False, None, False),
        (True, False, None, True),
        (True, True, None, False),
        (True, False, 99.0, True),
        (True, False, 95.0, False),
        (True, True, 99.9, False),
    ],
)
def test_kafka_is_up_while_it_answers_what_it_is_asked_and_sent(
    is_connected: bool, probe_failed: bool, waiting_since_s: float | None, up: bool
) -> None:
    assert up == is_answering(
        is_connected=is_connected, probe_failed=probe_failed, waiting_since_s=waiting_since_s, now_s=100.0
    )


async def test_kafka_is_down_while_it_is_silent_and_nothing_is_lost_of_that_time(
    tmp_path: Path, kafka_bootstrap: str, topic: str
) -> None:
    """The connections stand and no send fails: only that no answer comes tells an outage."""
    journal = Journal(tmp_path, JournalLimits())
    publisher = Publisher(kafka_bootstrap, journal, tmp_path, topic_prefix=topic.removesuffix(USAGE_EVENTS))

    async def is_up() -> bool:
        return publisher.is_connected

    async def is_down() -> bool:
        return not publisher.is_connected

    async def all_published() -> bool:
        return publisher.unacknowledged == 0

    await publisher.open()
    try:
        write(journal, "before")
        await eventually(is_up, timeout_s=30)
        await eventually(all_published, timeout_s=30)
        for transport in connections_of(publisher):
            transport.pause_reading()
        write(journal, "meanwhile")
        await eventually(is_down, timeout_s=30)
        assert publisher.unacknowledged == 1
        for transport in connections_of(publisher):
            transport.resume_reading()
        await eventually(is_up, timeout_s=30)
        await eventually(all_published, timeout_s=30)
    finally:
        await publisher.close(timeout_s=5)
        journal.close()
    records = await published(kafka_bootstrap, topic, 2)
    assert {key for key, _ in records} == {"before", "meanwhile"}


def connections_of(publisher: Publisher) -> list[asyncio.Transport]:
    """aiokafka's own, which it gives nobody: of what it reads through them nothing comes any more."""
    producer = publisher._delivery._producer
    assert producer is not None
    return [connection._reader._transport for connection in producer.client._conns.values()]
