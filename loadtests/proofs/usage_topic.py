"""What the topics about usage say: events, in either form that gateways write them, and totals."""

import asyncio

from aiokafka import AIOKafkaConsumer
from ams.usage.v1.events_pb2 import UsageEvent, UsageEventBatch

# How long the topic must have been quiet before it counts as read.
QUIET_S = 3.0


def events_of(value: bytes) -> list[UsageEvent]:
    """Of one Kafka value: a batch, or the single event that gateways wrote before."""
    return list(UsageEventBatch.FromString(value).events) or [UsageEvent.FromString(value)]


def request_id(event: UsageEvent) -> str:
    """What the answer's X-Request-Id said: the event's own id where no other is told."""
    if event.request_id:
        return event.request_id
    text = event.event_id.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


async def read_values(bootstrap_servers: str, topic: str) -> list[bytes]:
    """Every value that the topic has now."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    values: list[bytes] = []
    try:
        for partition, end in (await consumer.end_offsets(consumer.assignment())).items():
            while await consumer.position(partition) < end:
                records = await consumer.getmany(partition, timeout_ms=500)
                values += [record.value for record in records.get(partition, [])]
    finally:
        await consumer.stop()
    return values


async def read_topic(
    bootstrap_servers: str, topic: str, *, wanted: set[str], timeout_s: float
) -> list[UsageEvent]:
    """Every event, repeated ones too: until those of the `wanted` request ids are there and nothing more
    comes for a while, or time is up."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    events: list[UsageEvent] = []
    missing = set(wanted)
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    quiet_since_s = loop.time()
    try:
        while loop.time() < deadline_s and (missing or loop.time() - quiet_since_s < QUIET_S):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    found = events_of(record.value)
                    events += found
                    missing.difference_update(map(request_id, found))
                    quiet_since_s = loop.time()
    finally:
        await consumer.stop()
    return events
