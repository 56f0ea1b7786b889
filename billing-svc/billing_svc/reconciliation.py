"""Whether what gateways forwarded is what was recorded, rated and invoiced; each difference has a name.
Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from uuid import UUID

# Differences that are as they should be.
_EXPECTED = frozenset({"test_calls", "continuations", "not_charged", "not_invoiced_yet"})
_MESSAGES = {
    "forwarded_not_recorded": "Gateways forwarded them, and they aren't recorded: on their way, or lost.",
    "recorded_not_forwarded": "They were recorded, and no gateway has told yet that it forwarded them.",
    "dead_letter": "They arrived and couldn't be recorded: an admin has to decide about them.",
    "test_calls": "They came with test keys, which are never billed.",
    "continuations": "They are later parts of calls that last: their bytes are billed, the call counts once.",
    "not_rated_yet": "They were recorded, and billing hasn't counted them yet.",
    "rated_not_recorded": "Billing has counted them, and the record of usage was restored to a time before.",
    "not_charged": "The price's rule doesn't charge them.",
    "price_unknown": "The price of their service hasn't arrived yet.",
    "not_invoiced_yet": "No invoice has been issued for them yet.",
}
DayKey = tuple[date, UUID]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What usage-svc knows of a merchant's day: events, and calls of them that billing is told of."""

    forwarded: int = 0
    events: int = 0
    calls: int = 0
    test_events: int = 0
    dead_letters: int = 0


@dataclass(frozen=True, slots=True)
class Rated:
    """What billing knows of it, in calls: `rated` is the sum of the others."""

    rated: int = 0
    invoiced: int = 0
    not_charged: int = 0
    price_unknown: int = 0
    not_invoiced_yet: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """How many events or calls one of two figures is short of, and why: `code` as in the contract."""

    code: str
    events: int

    @property
    def message(self) -> str:
        return _MESSAGES[self.code]


@dataclass(frozen=True, slots=True)
class ReconciledDay:
    day: date
    merchant_id: UUID
    recorded: Recorded
    rated: Rated
    differences: tuple[Difference, ...]

    @property
    def is_reconciled(self) -> bool:
        return all(each.code in _EXPECTED for each in self.differences)


def reconcile(recorded: Mapping[DayKey, Recorded], rated: Mapping[DayKey, Rated]) -> list[ReconciledDay]:
    """By day, then merchant."""
    days = []
    for key in sorted(recorded.keys() | rated.keys()):
        of_usage, of_billing = recorded.get(key, Recorded()), rated.get(key, Rated())
        found = tuple(each for each in _differences(of_usage, of_billing) if each.events)
        days.append(ReconciledDay(*key, of_usage, of_billing, found))
    return days


def _differences(recorded: Recorded, rated: Rated) -> Iterator[Difference]:
    # forwarded − these three = recorded
    missing = recorded.forwarded - recorded.events
    # What waits as a dead letter is missing, unless its gateway hasn't told of it yet.
    yield Difference("dead_letter", recorded.dead_letters)
    yield Difference("forwarded_not_recorded", max(missing - recorded.dead_letters, 0))
    yield Difference("recorded_not_forwarded", max(-missing, 0))
    # recorded − these = rated
    yield Difference("test_calls", recorded.test_events)
    yield Difference("continuations", recorded.events - recorded.test_events - recorded.calls)
    yield Difference("not_rated_yet", max(recorded.calls - rated.rated, 0))
    yield Difference("rated_not_recorded", max(rated.rated - recorded.calls, 0))
    # rated − these = invoiced
    yield Difference("not_charged", rated.not_charged)
    yield Difference("price_unknown", rated.price_unknown)
    yield Difference("not_invoiced_yet", rated.not_invoiced_yet)
