"""Deltas of usage, and what they add to which billing counter. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from ams.usage.v1.events_pb2 import UsageDelta

from billing_svc.periods import parse_period


class CounterKey(NamedTuple):
    """Usage is counted per month, merchant, consumer, service and price version."""

    period: str
    merchant_id: UUID
    consumer_id: UUID
    service_id: UUID
    price_version_id: UUID


class Counts(NamedTuple):
    """The figures that a billing counter holds, or that a delta adds to it."""

    requests: int = 0
    billable_requests: int = 0
    request_bytes: int = 0
    response_bytes: int = 0

    def plus(self, other: "Counts") -> "Counts":
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True)
class Delta:
    """A UsageDelta whose fields hold what they should."""

    delta_id: UUID
    key: CounterKey
    counts: Counts


def parse_delta(message: UsageDelta) -> Delta:
    """Raises ValueError for a delta that can't be counted: malformed ids or month, negative figures, or
    more billable requests than requests."""
    counts = Counts(
        message.requests, message.billable_requests, message.request_bytes, message.response_bytes
    )
    if min(counts) < 0 or counts.billable_requests > counts.requests:
        raise ValueError(f"delta {message.delta_id!r} has impossible figures: {counts}")
    key = CounterKey(
        period=parse_period(message.period),
        merchant_id=UUID(message.merchant_id),
        consumer_id=UUID(message.consumer_id),
        service_id=UUID(message.service_id),
        price_version_id=UUID(message.price_version_id),
    )
    return Delta(UUID(message.delta_id), key, counts)


def sum_deltas(deltas: Iterable[Delta]) -> dict[CounterKey, Counts]:
    """The deltas of each counter added up, in the order of the counters' keys, in which they are locked."""
    sums: dict[CounterKey, Counts] = {}
    for delta in deltas:
        sums[delta.key] = sums.get(delta.key, Counts()).plus(delta.counts)
    # Two processes that lock the same counters in different orders would deadlock.
    return dict(sorted(sums.items()))
