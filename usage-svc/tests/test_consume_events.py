import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from ams_common.consumer import EventConsumer
from ams_common.database import Database
from ams_common.testing.eventually import eventually
from usage_svc.event_handlers import UsageIntake
from usage_svc.partitions import Partitions
from usage_svc.store import Store


@pytest.fixture
def consumer(
    database: Database[Store], kafka_bootstrap: str, topic_prefix: str, usage_topic: str
) -> EventConsumer:
    return EventConsumer(
        database, kafka_bootstrap, "usage-svc", [UsageIntake(Partitions(database))], topic_prefix
    )


@asynccontextmanager
async def running(consumer: EventConsumer) -> AsyncIterator[None]:
    task = asyncio.create_task(consumer.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_events_published_again_after_a_restart_change_no_figure(
    consumer: EventConsumer, send: Any, new_subject: Any, figures: Any
) -> None:
    subjects = [new_subject() for _ in range(8)]
    events = [subject.event() for subject in subjects for _ in range(20)]

    async def counted(requests: int) -> bool:
        return bool((await figures.raw())["requests"] == requests)

    await send(events)
    async with running(consumer):
        await eventually(lambda: counted(160), timeout_s=60)
    extra = [subject.event() for subject in subjects]  # the last of each partition: all before is read too
    await send([*random.sample(events, 100), *extra])
    async with running(consumer):
        await eventually(lambda: counted(168), timeout_s=60)
    assert [(await figures.rolled_up(g))["requests"] for g in ("minute", "hour", "day")] == [168] * 3
    assert (await figures.told())["requests"] == 168


async def test_what_cannot_be_counted_is_dead_lettered_and_the_rest_is_counted(
    consumer: EventConsumer,
    send: Any,
    subject: Any,
    figures: Any,
    kafka_bootstrap: str,
    usage_topic: str,
) -> None:
    negative, timeless = subject.event(request_bytes=-1), subject.event()
    timeless.ClearField("timestamp")
    await send([subject.event(), negative, subject.event(), timeless])
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        key = str(subject.consumer_id).encode()
        await producer.send_and_wait(usage_topic, b"\xff\xff\xff", key=key)
        await producer.send_and_wait(usage_topic, b"", key=key)
    await send([subject.event()])

    async def all_counted() -> bool:
        return bool((await figures.raw())["requests"] == 3)

    async with running(consumer):
        await eventually(all_counted, timeout_s=60)
    errors = await figures.dead_letters()
    assert len(errors) == 4
    assert "request_payload_size_bytes" in errors[0]
    assert "timestamp" in errors[1]
    assert "EOF" in errors[2]
    assert "event_id" in errors[3]
    assert (await figures.rolled_up("day"))["requests"] == 3
    assert (await figures.told())["requests"] == 3


async def test_batches_and_single_events_of_one_topic_are_both_counted(
    consumer: EventConsumer, send: Any, new_subject: Any, figures: Any
) -> None:
    """Gateways of two releases run side by side, and what an older one sent is read again after a restore."""
    events = [subject.event() for subject in (new_subject(), new_subject()) for _ in range(25)]
    await send(events[:30])
    await send(events[20:], per_record=10)

    async def all_counted() -> bool:
        return bool((await figures.raw())["requests"] == 50)

    async with running(consumer):
        await eventually(all_counted, timeout_s=60)
    assert await figures.dead_letters() == []
    assert (await figures.told())["requests"] == 50


async def test_an_event_of_a_batch_that_cannot_be_counted_is_dead_lettered_alone(
    start_service: Any, send: Any, subject: Any, figures: Any
) -> None:
    negative = subject.event(request_bytes=-1)
    await start_service()
    await send([subject.event(), negative, *[subject.event() for _ in range(8)]], per_record=10)

    async def is_buried() -> bool:
        return bool(await figures.dead_letters())

    await eventually(is_buried, timeout_s=60)
    (error,) = await figures.dead_letters()
    assert "request_payload_size_bytes" in error
    assert (await figures.raw())["requests"] == 9
