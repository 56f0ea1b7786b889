"""Usage events as gateways send them, for benchmarks of usage-svc."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator
from uuid import UUID

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from ams.usage.v1.events_pb2 import ANSWERED, UsageEvent, UsageEventBatch
from ams_common import topics
from ams_common.clock import to_timestamp, utc_now
from ams_common.ids import uuid7
from usage_svc.events import Series, series_of

SERVICES = 20
# What a gateway's turn sends at once.
TURN = 5_000


class Traffic:
    """Events of `keys` keys, each of its own consumer, calling services of which some are called more."""

    def __init__(self, keys: int, seed: int) -> None:
        self._random = random.Random(seed)
        self._keys = [(str(uuid7()), str(uuid7()), f"ams_live_{n:08d}") for n in range(keys)]
        self._journal_id = uuid7().bytes
        self._sequence = 0
        self._services = [(str(uuid7()), str(uuid7()), str(uuid7())) for _ in range(SERVICES)]

    @property
    def services(self) -> list[tuple[UUID, UUID, UUID]]:
        """Their ids, those of their merchants, and those of their price versions."""
        return [(UUID(service), UUID(merchant), UUID(price)) for service, merchant, price in self._services]

    def series(self) -> list[Series]:
        """All that its events can be of."""
        return [
            series
            for consumer_id, api_key_id, key_prefix in self._keys
            for service_id, merchant_id, _ in self._services
            if (series := series_of(consumer_id, merchant_id, service_id, api_key_id, "", key_prefix))
        ]

    def event(self) -> UsageEvent:
        consumer_id, api_key_id, key_prefix = self._random.choice(self._keys)
        service_id, merchant_id, price_version_id = self._services[
            min(int(self._random.expovariate(0.3)), SERVICES - 1)
        ]
        self._sequence += 1
        return UsageEvent(
            journal_id=self._journal_id,
            sequence=self._sequence,
            event_id=uuid7().bytes,
            timestamp=to_timestamp(utc_now()),
            consumer_id=consumer_id,
            api_key_id=api_key_id,
            service_id=service_id,
            merchant_id=merchant_id,
            price_version_id=price_version_id,
            key_prefix=key_prefix,
            request_payload_size_bytes=512,
            response_payload_size_bytes=1024,
            response_time_ms=self._random.randrange(200),
            status_code=self._random.choice([200, 200, 200, 404, 500]),
            outcome=ANSWERED,
        )


async def create_topics(bootstrap: str, prefix: str, partitions: int) -> None:
    """Those that both services read and write: one that is made later makes its group begin anew."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    names = (
        topics.USAGE_EVENTS,
        topics.USAGE_FORWARDED,
        topics.USAGE_AGGREGATED,
        topics.IDENTITY_EVENTS,
        topics.CATALOG_EVENTS,
    )
    await admin.create_topics([NewTopic(prefix + name, partitions, 1) for name in names])
    await admin.close()


async def fill(bootstrap: str, topic: str, traffic: Traffic, events: int, per_record: int) -> None:
    """Sends so many events, each consumer's of a turn together, at most `per_record` in a record."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5) as producer:
        left = events
        while left:
            turn = [traffic.event() for _ in range(min(TURN, left))]
            left -= len(turn)
            sent = [
                await producer.send(topic, value, key=consumer_id.encode())
                for consumer_id, value in _records(turn, per_record)
            ]
            await asyncio.gather(*sent)


def _records(events: list[UsageEvent], per_record: int) -> Iterator[tuple[str, bytes]]:
    groups: defaultdict[str, list[UsageEvent]] = defaultdict(list)
    for event in events:
        groups[event.consumer_id].append(event)
    for consumer_id, group in groups.items():
        for start in range(0, len(group), per_record):
            yield consumer_id, UsageEventBatch(events=group[start : start + per_record]).SerializeToString()
