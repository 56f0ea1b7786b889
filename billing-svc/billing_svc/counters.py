"""Totals of usage, and what a billing counter holds of them. Pure."""

from collections.abc import Iterable, Mapping
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


class Figures(NamedTuple):
    """What a group comes to so far: its events are those of each source up to and with its last offset."""

    events: int
    requests: int
    request_bytes: int
    response_bytes: int
    last_offsets: Mapping[str, int]

    def greatest(self, later: "Figures") -> "Figures":
        """Of two totals of a group, figure by figure: whichever comes first, and however often. Whose events
        they are is said by the one with more of them."""
        return Figures(
            max(self.events, later.events),
            max(self.requests, later.requests),
            max(self.request_bytes, later.request_bytes),
            max(self.response_bytes, later.response_bytes),
            later.last_offsets if later.events >= self.events else self.last_offsets,
        )


def parse_total(message: usage_pb.UsageTotal) -> tuple[CounterKey, Figures]:
    """Raises ValueError for a total that can't be counted: malformed ids or day, no source, an unknown charge
    class, or impossible figures."""
    figures = Figures(
        message.events,
        message.requests,
        message.request_bytes,
        message.response_bytes,
        dict(message.last_offsets),
    )
    amounts = (*figures[:4], *figures.last_offsets.values())
    if min(amounts) < 0 or not figures.events or figures.requests > figures.events:
        raise ValueError(f"a total has impossible figures: {figures}")
    if not figures.last_offsets or not all(map(_is_source, figures.last_offsets)):
        raise ValueError("a total needs its sources")
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
    return (*key[:5], key.project_id or UUID(int=0), key.charge_class.value)


def _is_source(text: str) -> bool:
    return 1 <= len(text) <= _MAX_SOURCE_LENGTH
