"""Usage of the past weeks: what the gateway metered of a few calls, once more at earlier times.

Nobody can call the gateway last Tuesday, so its events are read back from their topic and sent again with
another time and id, as events of a journal of their own; everything behind the topic takes them as it takes
any.
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from ams.usage.v1.events_pb2 import ForwardedTotal, UsageEvent, UsageEventBatch
from ams_common.clock import utc_now
from ams_common.ids import uuid7
from ams_common.topics import USAGE_EVENTS, USAGE_FORWARDED

_HOUR_S = 3600
_MOST_TOGETHER = 200


async def metered(kafka_bootstrap: str, topic_prefix: str, count: int) -> list[UsageEvent]:
    """The first `count` events of the gateway, waiting for them."""
    consumer = AIOKafkaConsumer(
        topic_prefix + USAGE_EVENTS,
        bootstrap_servers=kafka_bootstrap,
        auto_offset_reset="earliest",
        group_id=None,
    )
    await consumer.start()
    try:
        found: list[UsageEvent] = []
        while len(found) < count:
            found += UsageEventBatch.FromString((await consumer.getone()).value).events
        return found[:count]
    finally:
        await consumer.stop()


async def repeat(
    kafka_bootstrap: str, topic_prefix: str, events: Sequence[UsageEvent], days: int
) -> list[UsageEvent]:
    """Each event many times over the last `days` days, and what a gateway would have told of them. Returns
    what was sent."""
    sent = earlier(events, days, utc_now())
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, linger_ms=20)
    await producer.start()
    try:
        for batch in batches(sent):
            key = batch.events[0].consumer_id.encode()
            await producer.send(topic_prefix + USAGE_EVENTS, batch.SerializeToString(), key=key)
        for total in forwarded(sent):
            key = total.consumer_id.encode()
            await producer.send(topic_prefix + USAGE_FORWARDED, total.SerializeToString(), key=key)
        await producer.flush()
    finally:
        await producer.stop()
    return sent


def one_of_each(events: Iterable[UsageEvent]) -> list[UsageEvent]:
    """The first event of each consumer, project and service."""
    first: dict[tuple[str, str, str], UsageEvent] = {}
    for event in events:
        first.setdefault((event.consumer_id, event.project_id, event.service_id), event)
    return list(first.values())


def earlier(events: Sequence[UsageEvent], days: int, now: datetime) -> list[UsageEvent]:
    """Each event many times, in a journal of their own, whose numbers are not those they were copied with."""
    journal_id = uuid7().bytes
    past = list(_earlier(events, days, now))
    for number, event in enumerate(past, start=1):
        event.journal_id, event.sequence = journal_id, number
    return past


def _earlier(events: Sequence[UsageEvent], days: int, now: datetime) -> Iterator[UsageEvent]:
    """More by day than by night, less on the seventh day, and slowly growing."""
    chance, now_s = random.Random(days), int(now.timestamp())
    for hours_ago in range(24 * days, 0, -1):
        start_s = now_s - hours_ago * _HOUR_S
        daily = 1 + math.sin(2 * math.pi * (start_s / _HOUR_S % 24 - 8) / 24)
        weekly = 0.4 if start_s // (24 * _HOUR_S) % 7 == 0 else 1
        growth = 1 - hours_ago / (48 * days)
        for number, event in enumerate(events):
            mean = 2.4 * daily * weekly * growth / (1 + number)
            for _ in range(int(mean + chance.random())):
                yield _at(event, start_s + chance.randrange(_HOUR_S), chance)


def _at(event: UsageEvent, moment_s: int, chance: random.Random) -> UsageEvent:
    """The event, had it been then: one in forty refused or failed by the merchant."""
    copy = UsageEvent()
    copy.CopyFrom(event)
    copy.event_id = uuid7().bytes
    copy.timestamp.FromSeconds(moment_s)
    copy.response_time_ms = max(1, int(chance.lognormvariate(3.2, 0.6)))
    copy.request_payload_size_bytes = chance.randrange(40, 900)
    copy.response_payload_size_bytes = chance.randrange(200, 9000)
    if chance.random() < 1 / 40:
        copy.status_code = chance.choice((400, 404, 422, 500))
    return copy


def batches(events: Iterable[UsageEvent]) -> Iterator[UsageEventBatch]:
    """Of one consumer each, in the order of their numbers."""
    of_consumer: defaultdict[str, list[UsageEvent]] = defaultdict(list)
    for event in events:
        of_consumer[event.consumer_id].append(event)
    for several in of_consumer.values():
        for start in range(0, len(several), _MOST_TOGETHER):
            yield UsageEventBatch(events=several[start : start + _MOST_TOGETHER])


def forwarded(events: Sequence[UsageEvent]) -> Iterator[ForwardedTotal]:
    """What the gateway would have told: how many there are by day, merchant and consumer."""
    counted = Counter((day_of(event), event.merchant_id, event.consumer_id) for event in events)
    for (day, merchant_id, consumer_id), count in counted.items():
        yield ForwardedTotal(
            journal_id=events[0].journal_id,
            day=day,
            merchant_id=merchant_id,
            consumer_id=consumer_id,
            events=count,
        )


def day_of(event: UsageEvent) -> str:
    """In UTC, "2026-11-29"."""
    return f"{event.timestamp.ToDatetime(UTC):%Y-%m-%d}"


def days_since_last_month_began(now: datetime) -> int:
    """How many days back the first of the last month is."""
    last_day = now.replace(day=1) - timedelta(days=1)
    return (now.date() - last_day.replace(day=1).date()).days
