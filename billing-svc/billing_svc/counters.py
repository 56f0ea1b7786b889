"""Totals of usage, and what a billing counter holds of them. Pure."""

from collections.abc import Iterable
from datetime import date
from typing import NamedTuple
from uuid import UUID

from ams.usage.v1 import events_pb2 as usage_pb
from ams_rating.charging import ChargeClass

from billing_svc.periods import parse_day

_CHARGE_CLASSES = {
    usage_pb.SERVED: ChargeClass.SERVED,
    usage_pb.CLIENT_ERROR: ChargeClass.CLIENT_ERROR,
    usage_pb.ABANDONED: ChargeClass.ABANDONED,
    usage_pb.UNCHARGED: ChargeClass.UNCHARGED,
}
_MAX_SOURCE_LENGTH = 200


class CounterKey(NamedTuple):
    """What usage is counted by. `project_id` is None for none."""

    consumer_id: UUID
    day: date
    merchant_id: UUID
    service_id: UUID
    api_key_id: UUID
    project_id: UUID | None
    charge_class: ChargeClass
    source: str


class Figures(NamedTuple):
    """What a group comes to so far: its events are those of its source up to and with `last_offset`."""

    requests: int
    request_bytes: int
    response_bytes: int
    last_offset: int

    def greatest(self, other: "Figures") -> "Figures":
        """Of two totals of a group, figure by figure: whichever comes first, and however often."""
        return Figures(*map(max, self, other))


def parse_total(message: usage_pb.UsageTotal) -> tuple[CounterKey, Figures]:
    """Raises ValueError for a total that can't be counted: malformed ids or day, no source, an unknown charge
    class, or a negative figure."""
    figures = Figures(message.requests, message.request_bytes, message.response_bytes, message.last_offset)
    if min(figures) < 0:
        raise ValueError(f"a total has impossible figures: {figures}")
    if not 1 <= len(message.source) <= _MAX_SOURCE_LENGTH:
        raise ValueError("a total needs a source")
    charge_class = _CHARGE_CLASSES.get(message.charge_class)
    if charge_class is None:
        raise ValueError(f"{message.charge_class} is no charge class that is known here")
    key = CounterKey(
        consumer_id=UUID(message.consumer_id),
        day=parse_day(message.day),
        merchant_id=UUID(message.merchant_id),
        service_id=UUID(message.service_id),
        api_key_id=UUID(message.api_key_id),
        project_id=UUID(message.project_id) if message.project_id else None,
        charge_class=charge_class,
        source=message.source,
    )
    return key, figures


def greatest_totals(messages: Iterable[usage_pb.UsageTotal]) -> dict[CounterKey, Figures]:
    """The greatest total of each group, in the order in which counters are locked.

    Raises ValueError as parse_total() does.
    """
    totals: dict[CounterKey, Figures] = {}
    for key, figures in map(parse_total, messages):
        held = totals.get(key)
        totals[key] = figures if held is None else held.greatest(figures)
    # Two processes that lock the same counters in different orders would deadlock.
    return dict(sorted(totals.items(), key=lambda item: _lock_order(item[0])))


def _lock_order(key: CounterKey) -> tuple[object, ...]:
    return (*key[:5], key.project_id or UUID(int=0), key.charge_class.value, key.source)
