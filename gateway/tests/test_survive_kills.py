"""Whatever is killed, no event of an answered call is lost, and what comes twice is the same."""

import asyncio
import os
import signal
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientResponse, ClientSession
from aiokafka import AIOKafkaConsumer
from ams.usage.v1 import events_pb2 as usage
from ams_common.ports import free_port
from ams_common.testing.eventually import eventually
from ams_common.topics import USAGE_EVENTS, USAGE_FORWARDED
from ams_gateway.settings import Settings
from ams_gateway.testing.merchants import Merchant, Reader, RecordedRequest, Writer
from ams_gateway.testing.processes import gateway_process, kill, workers_of
from ams_gateway.testing.running import GrantedKey, serve_gateway


@pytest.fixture
def topic(topic_prefix: str) -> str:
    return topic_prefix + USAGE_EVENTS


class Caller:
    """Calls without pause, and remembers which calls were answered."""

    def __init__(self, port: int, granted: GrantedKey) -> None:
        self._url = f"http://127.0.0.1:{port}/api/consume"
        self._granted = granted
        self.answered: set[str] = set()
        self.stop = False

    async def run(self, callers: int = 16) -> None:
        async with ClientSession() as http:
            await asyncio.gather(*(self._call(http) for _ in range(callers)))

    async def _call(self, http: ClientSession) -> None:
        while not self.stop:
            try:
                async with http.post(self._url, data=b"x" * 100, headers=self._granted.headers) as answer:
                    await answer.read()
                    if answer.status == 200:
                        self.answered.add(answer.headers["X-Request-Id"].replace("-", ""))
            except (ClientError, OSError):
                await asyncio.sleep(0.02)

    async def has(self, count: int) -> None:
        async def enough() -> bool:
            return len(self.answered) >= count

        await eventually(enough, timeout_s=30)


async def published(settings: Settings, topic: str, wanted: set[str]) -> dict[str, set[bytes]]:
    """Every event of the topic by id, with all its spellings, once the wanted ids are there."""
    found: dict[str, set[bytes]] = {}
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=settings.kafka_bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async with asyncio.timeout(60):
            while wanted - set(found):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        for event in usage.UsageEventBatch.FromString(record.value).events:
                            assert record.key == event.consumer_id.encode()
                            spelling = event.SerializeToString(deterministic=True)
                            found.setdefault(event.event_id.hex(), set()).add(spelling)
    finally:
        await consumer.stop()
    return found


def left_in(settings: Settings) -> list[str]:
    return [path.name for path in Path(settings.journal_dir).iterdir()]


async def test_killing_the_gateway_under_load_loses_no_answered_calls_event(
    settings: Settings, granted: GrantedKey, topic: str
) -> None:
    port = free_port()
    caller = Caller(port, granted)
    calling = asyncio.create_task(caller.run())
    for number in range(1, 4):
        async with gateway_process(port, settings, topic) as process:
            await caller.has(number * 200)
            await kill(process)
    caller.stop = True
    await calling
    dead = set(left_in(settings))

    async def replayed() -> bool:
        return not dead & set(left_in(settings))

    async with gateway_process(port, settings, topic):
        found = await published(settings, topic, caller.answered)
        # It may all have been with Kafka before this one had even started.
        await eventually(replayed, timeout_s=30)
    assert caller.answered <= set(found)
    assert all(len(spellings) == 1 for spellings in found.values())
    assert left_in(settings) == []
    by_journal = await numbers_by_journal(settings, topic)
    for numbers in by_journal.values():
        assert numbers == set(range(1, len(numbers) + 1))
    told = await forwarded_by_journal(settings, topic.replace(USAGE_EVENTS, USAGE_FORWARDED))
    assert told == {journal: len(numbers) for journal, numbers in by_journal.items()}


async def forwarded_by_journal(settings: Settings, topic: str) -> dict[bytes, int]:
    """How many events each journal says that it has had."""
    totals: dict[tuple[bytes, str, str, str], int] = {}
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=settings.kafka_bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        for partition, end in (await consumer.end_offsets(consumer.assignment())).items():
            while await consumer.position(partition) < end:
                for record in (await consumer.getmany(partition, timeout_ms=500)).get(partition, []):
                    told = usage.ForwardedTotal.FromString(record.value)
                    group = told.journal_id, told.day, told.merchant_id, told.consumer_id
                    totals[group] = max(told.events, totals.get(group, 0))
    finally:
        await consumer.stop()
    by_journal: defaultdict[bytes, int] = defaultdict(int)
    for (journal_id, *_), events in totals.items():
        by_journal[journal_id] += events
    return dict(by_journal)


async def test_killing_the_gateway_amid_a_long_stream_loses_only_what_came_since_its_last_report(
    settings: Settings, http: ClientSession, granted: GrantedKey, merchant: Merchant, topic: str
) -> None:
    pieces: asyncio.Queue[bytes] = asyncio.Queue()

    async def stream(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n")
        while True:
            writer.write(await pieces.get())

    merchant.answer = stream
    port = free_port()
    async with gateway_process(port, replace(settings, report_every_s=1.0), topic) as process:
        pieces.put_nowait(b"x" * 1000)
        answer = await first_answer(http, port, granted)
        event_id = answer.headers["X-Request-Id"].replace("-", "")
        await answer.content.readexactly(1000)
        await until_reported(settings, topic, event_id, 1000)
        for reports in range(1, 4):
            pieces.put_nowait(b"x" * 500)
            await answer.content.readexactly(500)
            await until_reported(settings, topic, event_id, 1000 + 500 * reports)
        pieces.put_nowait(b"x" * 500)
        await answer.content.readexactly(500)
        await kill(process)
        answer.close()
    # What the next one replays is the same.
    left = set(left_in(settings))

    async def replayed() -> bool:
        return not left & set(left_in(settings))

    async with gateway_process(port, settings, topic):
        await eventually(replayed, timeout_s=30)
    again = await published(settings, topic, {event_id})
    assert all(len(spellings) == 1 for spellings in again.values())
    events = [usage.UsageEvent.FromString(event) for (event,) in again.values()]
    assert {(event.outcome, event.status_code) for event in events} == {(usage.ANSWERED, 200)}
    # The last piece may have been reported too, if a second went by before the kill.
    assert sum(event.response_payload_size_bytes for event in events) in (2500, 3000)
    assert [event.is_continuation for event in events].count(False) == 1


async def until_reported(settings: Settings, topic: str, event_id: str, size_bytes: int) -> None:
    """Until the events that the topic has of a call come to so many bytes."""

    async def is_reported() -> bool:
        found = await published(settings, topic, {event_id})
        events = [usage.UsageEvent.FromString(event) for (event,) in found.values()]
        return sum(event.response_payload_size_bytes for event in events) == size_bytes

    await eventually(is_reported)


async def first_answer(http: ClientSession, port: int, granted: GrantedKey) -> ClientResponse:
    """Of a gateway that may still be starting."""

    async def answer() -> ClientResponse | None:
        try:
            return await http.post(f"http://127.0.0.1:{port}/api/consume", headers=granted.headers)
        except ClientError:
            return None

    found = await eventually(answer)
    assert found is not None
    return found


async def numbers_by_journal(settings: Settings, topic: str) -> dict[bytes, set[int]]:
    """The numbers of all events that the topic has, when nobody publishes any more."""
    numbers: defaultdict[bytes, set[int]] = defaultdict(set)
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=settings.kafka_bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        for partition, end in ends.items():
            while await consumer.position(partition) < end:
                for record in (await consumer.getmany(partition, timeout_ms=500)).get(partition, []):
                    for event in usage.UsageEventBatch.FromString(record.value).events:
                        numbers[event.journal_id].add(event.sequence)
    finally:
        await consumer.stop()
    return numbers


async def test_a_killed_workers_events_are_replayed_by_the_others(
    settings: Settings, granted: GrantedKey, topic: str
) -> None:
    port = free_port()
    caller = Caller(port, granted)
    async with gateway_process(port, settings, topic, workers=2) as process:
        calling = asyncio.create_task(caller.run(8))
        await caller.has(200)
        for worker in workers_of(process.pid):
            os.kill(worker, signal.SIGKILL)
            break
        await caller.has(len(caller.answered) + 200)
        caller.stop = True
        await calling
        found = await published(settings, topic, caller.answered)
    assert all(len(spellings) == 1 for spellings in found.values())


async def test_a_scrape_sees_the_answers_of_all_workers(
    settings: Settings, http: ClientSession, granted: GrantedKey, topic: str
) -> None:
    port = free_port()
    caller = Caller(port, granted)
    operator_port = free_port()
    async with gateway_process(port, settings, topic, workers=2, operator_port=operator_port):
        calling = asyncio.create_task(caller.run(8))
        await caller.has(200)
        caller.stop = True
        await calling

        async def counts_all() -> bool:
            async with http.get(f"http://127.0.0.1:{operator_port}/metrics") as answer:
                return f'answers_total{{code="200"}} {len(caller.answered)}.0\n' in await answer.text()

        await eventually(counts_all)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_gateway_that_is_told_to_stop_ends_well(
    settings: Settings, http: ClientSession, topic: str, workers: int
) -> None:
    operator_port = free_port()
    async with gateway_process(free_port(), settings, topic, workers, operator_port) as process:

        async def serves() -> bool:
            try:
                async with http.get(f"http://127.0.0.1:{operator_port}/healthz") as answer:
                    return answer.status == 200
            except (ClientError, OSError):
                return False

        await eventually(serves, timeout_s=30)
        process.terminate()
        assert await process.wait() == 0


async def test_events_wait_in_the_journal_while_kafka_is_away(
    settings: Settings, http: ClientSession, granted: GrantedKey, topic: str
) -> None:
    away = replace(
        settings,
        kafka_bootstrap_servers=f"127.0.0.1:{free_port()}",
        drain_s=0.2,
        kafka_topic_prefix=topic.removesuffix(USAGE_EVENTS),
    )
    answered = set()
    async with serve_gateway(away) as gateway:
        for _ in range(50):
            async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
                assert answer.status == 200
                answered.add(answer.headers["X-Request-Id"].replace("-", ""))
    assert len(left_in(settings)) == 1
    async with serve_gateway(replace(settings, kafka_topic_prefix=topic.removesuffix(USAGE_EVENTS))):
        found = await published(settings, topic, answered)
    assert set(found) == answered
    assert left_in(settings) == []
