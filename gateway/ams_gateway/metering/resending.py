"""Sends events again that journals still have, kept or not: after Kafka has lost what it had acknowledged.

usage-svc drops by their ids those that it has. Nothing is locked and nothing changed: gateways may run on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ams.usage.v1 import events_pb2 as usage

from ams_gateway.metering.delivery import Delivery, records_of
from ams_gateway.metering.journal import by_consumer
from ams_gateway.metering.kept import segments_on_disk
from ams_gateway.metering.records import read_records

_BATCH_EVENTS = 2_000


@dataclass(frozen=True, slots=True)
class Resent:
    """What was sent again."""

    events: int
    journals: int


def events_since(root: Path, since: datetime, journal: str | None) -> Iterator[tuple[str, bytes]]:
    """Each event of that time or later, with its journal's name; of `journal` alone if it is given."""
    since_s = since.timestamp()
    for name, path in segments_on_disk(root, journal):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            # Let go of meanwhile; what was kept of it has been deleted for its age.
            continue
        for event, _ in read_records(data):
            if _time_s(event) >= since_s:
                yield name, event


def _time_s(event: bytes) -> float:
    try:
        at = usage.UsageEvent.FromString(event).timestamp
    except Exception:
        # No event, and of no time: usage-svc has kept it, or keeps it now, among its dead letters.
        return float("inf")
    return at.seconds + at.nanos / 1e9


async def resend(
    root: Path, since: datetime, journal: str | None, *, bootstrap_servers: str, topic: str
) -> Resent:
    delivery = Delivery(bootstrap_servers, topic)
    sent, journals = 0, set()
    batch: list[bytes] = []

    async def send() -> None:
        nonlocal sent
        await delivery.send(topic, records_of(by_consumer(batch)))
        sent += len(batch)
        batch.clear()

    try:
        for name, event in events_since(root, since, journal):
            journals.add(name)
            batch.append(event)
            if len(batch) >= _BATCH_EVENTS:
                await send()
        await send()
    finally:
        await delivery.disconnect()
    return Resent(sent, len(journals))
