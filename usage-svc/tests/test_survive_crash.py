"""The real process, killed and joined by a second one in mid-stream: the figures stay exact."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from ams.usage.v1.events_pb2 import CLIENT_CLOSED, UPSTREAM_FAILED, UsageEvent, UsageTotal, UsageTotalBatch
from ams_common import topics
from ams_common.testing.eventually import eventually


@pytest.fixture
def events(new_subject: Any) -> list[UsageEvent]:
    """Of 24 consumers, of all outcomes; a tenth of them twice, in no order."""
    subjects = [new_subject() for _ in range(24)]
    made = []
    for number in range(6000):
        subject = subjects[number % 24]
        outcome = {0: CLIENT_CLOSED, 1: UPSTREAM_FAILED}.get(number % 7)
        more = {"outcome": outcome} if outcome else {}
        made.append(subject.event(request_bytes=number, response_bytes=2 * number, **more))
    doubled = [*made, *random.sample(made, 600)]
    random.shuffle(doubled)
    return doubled


def sums_of(events: list[UsageEvent]) -> Counter[str]:
    """What must be counted, computed apart: each event id once."""
    sums: Counter[str] = Counter()
    for event in {event.event_id: event for event in events}.values():
        sums["requests"] += 1
        sums["billable"] += event.outcome != UPSTREAM_FAILED
        sums["sent"] += event.request_payload_size_bytes
        sums["received"] += event.response_payload_size_bytes
    return sums


@pytest.fixture
async def aggregated(
    kafka_bootstrap: str, topic_prefix: str, usage_topic: str, sums_of_totals: Any
) -> AsyncIterator[Any]:
    """`await aggregated()`: what billing holds of all that usage.aggregated told so far."""
    consumer = AIOKafkaConsumer(
        topic_prefix + topics.USAGE_AGGREGATED,
        bootstrap_servers=kafka_bootstrap,
        auto_offset_reset="earliest",
        group_id=None,
    )
    await consumer.start()
    totals: list[UsageTotal] = []

    async def read() -> Counter[str]:
        for records in (await consumer.getmany(timeout_ms=100)).values():
            for record in records:
                batch = UsageTotalBatch.FromString(record.value)
                assert {total.consumer_id.encode() for total in batch.totals} == {record.key}
                totals.extend(batch.totals)
        sums: Counter[str] = sums_of_totals(totals)
        return sums

    yield read
    await consumer.stop()


async def assert_exact(events: list[UsageEvent], figures: Any, aggregated: Any) -> None:
    expected = sums_of(events)

    async def all_went_out() -> bool:
        read = await aggregated()
        assert read["requests"] <= expected["requests"]
        return bool(read == expected and await figures.outbox_is_empty())

    await eventually(all_went_out, timeout_s=60)
    assert await figures.raw() == expected
    for granularity in ("minute", "hour", "day"):
        assert await figures.rolled_up(granularity) == expected
    assert await figures.dead_letters() == []
    assert await figures.broken_invariants() == {}


async def test_killing_the_process_in_mid_stream_leaves_the_figures_exact(
    start_service: Any, send: Any, events: list[UsageEvent], figures: Any, aggregated: Any
) -> None:
    process = await start_service()
    await send(events[:500])
    await eventually(lambda: _more_than(figures, 0), timeout_s=60)
    sending = asyncio.create_task(send(events[500:4000], per_record=20))
    await eventually(lambda: _more_than(figures, 500), timeout_s=60)
    process.kill()
    await process.wait()
    await sending
    await send(events[4000:])
    assert (await figures.raw())["requests"] < sums_of(events)["requests"]
    await start_service()
    await assert_exact(events, figures, aggregated)


async def test_two_processes_share_the_partitions_and_stay_exact_while_they_change_hands(
    start_service: Any,
    send: Any,
    events: list[UsageEvent],
    figures: Any,
    aggregated: Any,
    kafka_bootstrap: str,
    topic_prefix: str,
) -> None:
    first = await start_service()
    await send(events[:1000])
    await eventually(lambda: _more_than(figures, 0), timeout_s=60)
    await start_service()
    stop_trickling = asyncio.Event()
    trickled = asyncio.create_task(_trickle(send, events[1000:4000], stop_trickling))
    await eventually(lambda: _has_members(kafka_bootstrap, topic_prefix + "usage-svc", 2), timeout_s=30)
    stop_trickling.set()
    sent = 1000 + await trickled
    sending = asyncio.create_task(send(events[sent:], per_record=20))
    await eventually(lambda: _more_than(figures, sent // 2), timeout_s=60)
    first.terminate()
    assert await first.wait() == 0
    await sending
    await assert_exact(events, figures, aggregated)


async def test_twenty_kills_with_a_second_process_coming_and_going_leave_the_figures_exact(
    start_service: Any, send: Any, events: list[UsageEvent], figures: Any, aggregated: Any
) -> None:
    dice = random.Random()
    running = [await start_service()]
    await send(events[:100])
    await eventually(lambda: _more_than(figures, 0), timeout_s=60)
    for number in range(20):
        start = 100 + number * (len(events) - 100) // 20
        sending = asyncio.create_task(
            send(events[start : 100 + (number + 1) * (len(events) - 100) // 20], per_record=7)
        )
        running.append(await start_service())
        await asyncio.sleep(dice.uniform(0.2, 2.5))
        killed = running.pop(dice.randrange(len(running)))
        killed.kill()
        await killed.wait()
        await sending
    await assert_exact(events, figures, aggregated)


async def _more_than(figures: Any, requests: int) -> bool:
    return bool((await figures.raw())["requests"] > requests)


async def _trickle(send: Any, events: list[UsageEvent], stop: asyncio.Event) -> int:
    """Keeps a little coming while the group changes; returns how many were sent."""
    for start in range(0, len(events), 20):
        if stop.is_set():
            return start
        await send(events[start : start + 20])
        await asyncio.sleep(0.02)
    return len(events)


async def _has_members(kafka_bootstrap: str, group: str, count: int) -> bool:
    """Whether the group is stable, after rebalancing, with so many members."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    try:
        (answer,) = await admin.describe_consumer_groups([group])
    finally:
        await admin.close()
    _, _, state, _, _, members, *_ = answer.groups[0]
    return state == "Stable" and len(members) == count
