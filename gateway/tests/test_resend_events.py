"""What Kafka has acknowledged and then lost is sent again from what journals have kept."""

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import ClientSession
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from ams.usage.v1 import events_pb2 as usage
from ams_common.testing.eventually import eventually
from ams_common.topics import USAGE_EVENTS
from ams_gateway.metering import files as journals
from ams_gateway.metering.journal import Journal, JournalLimits
from ams_gateway.metering.kept import KeepLimits, KeptSegments, segments_on_disk
from ams_gateway.metering.resending import events_since
from ams_gateway.settings import Settings
from ams_gateway.testing.running import GrantedKey, Running, serve_gateway

EARLIER = datetime(2026, 11, 29, 10, tzinfo=UTC)


def kept_in(root: Path, **limits: float) -> KeptSegments:
    return KeptSegments(root, KeepLimits(**{"keep_s": 3600, **limits}))  # type: ignore[arg-type]


def kept_names(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("kept/*"))


def event(number: int, at: datetime = EARLIER) -> bytes:
    made = usage.UsageEvent(consumer_id="c", sequence=number)
    made.timestamp.FromDatetime(at)
    return made.SerializeToString()


def write(journal: Journal, *numbers: int) -> None:
    for number in numbers:
        journal.append("c", event(number, EARLIER + timedelta(minutes=number)))


def acknowledge(journal: Journal) -> None:
    while (taken := journal.take(100))[1]:
        journal.acknowledge(taken[2])


def numbers_since(root: Path, since: datetime, journal: str | None = None) -> list[int]:
    return [usage.UsageEvent.FromString(each).sequence for _, each in events_since(root, since, journal)]


async def call(gateway: Running, http: ClientSession, granted: GrantedKey, calls: int) -> set[str]:
    """The ids of their events."""
    ids = set()
    for _ in range(calls):
        async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
            assert answer.status == 200
            ids.add(answer.headers["X-Request-Id"].replace("-", ""))
    return ids


async def events_of(bootstrap: str, topic: str) -> list[str]:
    """The ids of all that the topic has now."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    found = []
    try:
        for partition, end in (await consumer.end_offsets(consumer.assignment())).items():
            while await consumer.position(partition) < end:
                for record in (await consumer.getmany(partition, timeout_ms=500)).get(partition, []):
                    batch = usage.UsageEventBatch.FromString(record.value).events
                    found += [each.event_id.hex() for each in batch]
    finally:
        await consumer.stop()
    return found


async def make_anew(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])

        async def is_made() -> bool:
            # Kafka deletes when it gets to it.
            answer = await admin.create_topics([NewTopic(topic, 4, 1)])
            return all(error[1] == 0 for error in answer.topic_errors)

        await eventually(is_made)
    finally:
        await admin.close()


async def run_resend(settings: Settings, *words: str) -> str:
    environ = {
        "REDIS_URL": settings.redis_url,
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": settings.kafka_topic_prefix,
        "GATEWAY_JOURNAL_DIR": settings.journal_dir,
        "GATEWAY_LISTEN": "127.0.0.1:0",
        "IDENTITY_ADDRESS": "127.0.0.1:1",
        "KEYS_ADDRESS": "127.0.0.1:1",
        "CATALOG_ADDRESS": "127.0.0.1:1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ams_gateway", "resend", *words, env=environ, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    return printed.decode()


@pytest.mark.parametrize("settings", [True], ids=["consume-protocol"], indirect=True)
async def test_a_topic_that_was_made_anew_gets_every_event_again(
    settings: Settings, http: ClientSession, granted: GrantedKey, topic_prefix: str
) -> None:
    """Of a gateway that has ended since, and of one that runs."""
    keeping = replace(settings, kafka_topic_prefix=topic_prefix, journal_keep_hours=1.0)
    bootstrap, topic = settings.kafka_bootstrap_servers, topic_prefix + USAGE_EVENTS
    since = datetime.now(UTC).isoformat()
    async with serve_gateway(keeping) as gateway:
        answered = await call(gateway, http, granted, 30)
    async with serve_gateway(keeping) as gateway:
        answered |= await call(gateway, http, granted, 30)

        async def is_acknowledged() -> bool:
            return gateway.runtime.publisher.unacknowledged == 0

        await eventually(is_acknowledged)
        await make_anew(bootstrap, topic)
        assert await events_of(bootstrap, topic) == []
        assert await run_resend(keeping, "--since", since) == "60 events of 2 journals sent\n"
        found = await events_of(bootstrap, topic)
        assert (len(found), set(found)) == (60, answered)
        own = gateway.runtime.journal.journal_id.hex()
        assert (
            await run_resend(keeping, "--since", since, "--journal", own) == "30 events of 1 journals sent\n"
        )


def test_each_event_of_the_time_is_found_wherever_its_segment_is(tmp_path: Path) -> None:
    kept = kept_in(tmp_path)
    first, second = (Journal(tmp_path, JournalLimits(segment_bytes=100), kept) for _ in range(2))
    write(first, *range(1, 21))
    acknowledge(first)
    write(first, 21)
    write(second, 22)
    assert len(kept_names(tmp_path)) > 3
    assert sorted(numbers_since(tmp_path, EARLIER)) == list(range(1, 23))
    assert sorted(numbers_since(tmp_path, EARLIER + timedelta(minutes=15))) == list(range(15, 23))
    assert numbers_since(tmp_path, EARLIER, first.journal_id.hex()) == list(range(1, 22))
    acknowledge(first)
    first.close()
    assert numbers_since(tmp_path, EARLIER, first.journal_id.hex()) == list(range(1, 22))
    second.close()


def test_a_dead_workers_segments_are_kept_when_they_have_been_replayed(tmp_path: Path) -> None:
    journal = Journal(tmp_path, JournalLimits(segment_bytes=100))
    write(journal, *range(1, 8))
    journal.close()
    (files,) = journals.adopt(tmp_path, kept_in(tmp_path))
    while (read := files.read(1000))[0]:
        files.acknowledge(read[1])
    files.remove()
    assert [name for name, _ in segments_on_disk(tmp_path, None)] == [journal.journal_id.hex()] * 2
    assert numbers_since(tmp_path, EARLIER) == list(range(1, 8))


def test_what_is_kept_is_bounded_by_age_and_by_bytes(tmp_path: Path) -> None:
    kept = kept_in(tmp_path, keep_s=100, max_bytes=250)
    now_s = datetime.now(UTC).timestamp()
    for number in range(1, 5):
        segment = tmp_path / f"0000000{number}.seg"
        segment.write_bytes(bytes(100))
        kept.take(segment, "a")
    _set_age(tmp_path, now_s, [101, 50, 40, 30])
    kept.expire(now_s)
    assert kept_names(tmp_path) == ["a-00000003.seg", "a-00000004.seg"]
    kept.expire(now_s + 65)
    assert kept_names(tmp_path) == ["a-00000004.seg"]
    kept.expire(now_s + 1000)
    assert kept_names(tmp_path) == []


def _set_age(root: Path, now_s: float, ages_s: Sequence[float]) -> None:
    for path, age_s in zip(sorted(root.glob("kept/*")), ages_s, strict=True):
        os.utime(path, (now_s - age_s, now_s - age_s))


def test_a_gateway_that_keeps_nothing_leaves_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path, JournalLimits(segment_bytes=100), kept_in(tmp_path, keep_s=0))
    write(journal, *range(1, 21))
    acknowledge(journal)
    journal.close()
    assert list(tmp_path.iterdir()) == []
