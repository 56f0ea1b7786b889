"""Usage of the past weeks: what the gateway metered of a few calls, once more at earlier times.

Nobody can call the gateway last Tuesday, so its events are read back from their topic and sent again with
another time and id; everything behind the topic takes them as it takes any.
"""

import math
import random
import time
from collections.abc import Iterator, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from ams.usage.v1.events_pb2 import UsageEvent, UsageEventBatch
from ams_common.ids import uuid7
from ams_common.topics import USAGE_EVENTS

_HOUR_S = 3600


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


async def repeat(kafka_bootstrap: str, topic_prefix: str, events: Sequence[UsageEvent], days: int) -> int:
    """Each event many times over the last `days` days. How many were sent."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, linger_ms=20)
    await producer.start()
    sent = []
    try:
        for event in _earlier(events, days):
            key = event.consumer_id.encode()
            sent.append(await producer.send(topic_prefix + USAGE_EVENTS, event.SerializeToString(), key=key))
        for acknowledged in sent:
            await acknowledged
    finally:
        await producer.stop()
    return len(sent)


def _earlier(events: Sequence[UsageEvent], days: int) -> Iterator[UsageEvent]:
    """More by day than by night, less on the seventh day, and slowly growing."""
    chance, now_s = random.Random(days), int(time.time())
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
    # It was in no journal: a number that came twice would hide one that never did.
    copy.ClearField("journal_id")
    copy.ClearField("sequence")
    copy.timestamp.FromSeconds(moment_s)
    copy.response_time_ms = max(1, int(chance.lognormvariate(3.2, 0.6)))
    copy.request_payload_size_bytes = chance.randrange(40, 900)
    copy.response_payload_size_bytes = chance.randrange(200, 9000)
    if chance.random() < 1 / 40:
        copy.status_code = chance.choice((400, 404, 422, 500))
    return copy
