"""How many events a journal has had, by UTC day, merchant and consumer: what usage-svc should have of it,
whatever Kafka loses later (topic usage.forwarded).

A total only grows, and of two the greater holds: it may be told twice, late or by another worker. The journal
saves its totals before it lets go of a segment whose events they count, so that what it has saved and what
its segments hold make up the whole after any kill.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from ams.usage.v1 import events_pb2 as usage

_DAY_NS = 24 * 3600 * 1_000_000_000
# A call is metered when it ends, and belongs to the day it came in: so long its day stays open.
_DAYS_KEPT = 2


class Group(NamedTuple):
    day: str  # "2026-11-29"
    merchant_id: str
    consumer_id: str


class ForwardedTotals:
    """One journal's. `count` is on the hot path: everything else is done when somebody asks."""

    def __init__(self, saved: "SavedTotals | None" = None) -> None:
        self._saved_to = saved.last_sequence if saved is not None else 0
        self._totals: dict[Group, int] = dict(saved.totals) if saved is not None else {}
        self._untold: set[Group] = set(self._totals)
        # Since totals were last asked for: by day since 1970, then by the beginning of the events.
        self._fresh: dict[int, defaultdict[bytes, int]] = {}
        # Of the day that was counted last, and its bounds.
        self._of_day: defaultdict[bytes, int] = defaultdict(int)
        self._from_ns = self._until_ns = 0

    def count(self, parties: bytes, at_ns: int) -> None:
        """One event more, of a time. `parties`: see encode_parties."""
        if not self._from_ns <= at_ns < self._until_ns:
            self._turn_to(at_ns // _DAY_NS)
        self._of_day[parties] += 1

    def _turn_to(self, day: int) -> None:
        self._from_ns, self._until_ns = day * _DAY_NS, (day + 1) * _DAY_NS
        self._of_day = self._fresh.setdefault(day, defaultdict(int))

    def add(self, event: bytes) -> None:
        """An event that was read from a file, unless the saved totals have it. What is no event is
        nobody's."""
        try:
            read = usage.UsageEvent.FromString(event)
        except Exception:
            return
        # Those of an old release have no number, and no totals that were saved.
        if not read.sequence or read.sequence > self._saved_to:
            day = day_text(read.timestamp.seconds // (24 * 3600))
            self._add(day, read.merchant_id, read.consumer_id, 1)

    def _add(self, day: str, merchant_id: str, consumer_id: str, events: int) -> None:
        group = Group(day, merchant_id, consumer_id)
        self._totals[group] = self._totals.get(group, 0) + events
        self._untold.add(group)

    def _settle(self) -> None:
        """Sort what was counted into the totals."""
        fresh, self._fresh = self._fresh, {}
        self._from_ns = self._until_ns = 0
        for day, counts in fresh.items():
            text = day_text(day)
            for parties, events in counts.items():
                self._add(text, *_merchant_and_consumer(parties), events)

    @property
    def has_untold(self) -> bool:
        return bool(self._fresh or self._untold)

    def take_untold(self) -> dict[Group, int]:
        """The totals that have grown since they were taken before. Those that can't be told are put back."""
        self._settle()
        untold, self._untold = self._untold, set()
        return {group: self._totals[group] for group in untold}

    def put_back(self, groups: Iterable[Group]) -> None:
        self._untold.update(groups)

    def drop_closed_days(self, now: datetime) -> None:
        """Forget what was told of days in which nothing is counted any more."""
        oldest = (now.astimezone(UTC) - timedelta(days=_DAYS_KEPT - 1)).date().isoformat()
        for group in [group for group in self._totals if group.day < oldest and group not in self._untold]:
            del self._totals[group]

    def all(self) -> dict[Group, int]:
        self._settle()
        return dict(self._totals)


def encode_total(journal_id: bytes, group: Group, events: int) -> bytes:
    return usage.ForwardedTotal(
        journal_id=journal_id,
        day=group.day,
        merchant_id=group.merchant_id,
        consumer_id=group.consumer_id,
        events=events,
    ).SerializeToString()


@dataclass(frozen=True, slots=True)
class SavedTotals:
    """The totals of a journal's first events, up to and with a number."""

    last_sequence: int
    totals: Mapping[Group, int]

    def to_bytes(self) -> bytes:
        # Nested, which is half as long, and as dear, as naming each group in full.
        days: dict[str, dict[str, dict[str, int]]] = {}
        for (day, merchant_id, consumer_id), events in self.totals.items():
            days.setdefault(day, {}).setdefault(merchant_id, {})[consumer_id] = events
        return json.dumps([self.last_sequence, days]).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "SavedTotals":
        """Raises ValueError for what `to_bytes` hasn't made."""
        try:
            last_sequence, days = json.loads(data)
            return cls(
                int(last_sequence),
                {
                    Group(day, merchant_id, consumer_id): int(events)
                    for day, merchants in days.items()
                    for merchant_id, consumers in merchants.items()
                    for consumer_id, events in consumers.items()
                },
            )
        except (TypeError, AttributeError) as error:
            raise ValueError("no totals") from error


@lru_cache(10_000)
def _merchant_and_consumer(parties: bytes) -> tuple[str, str]:
    read = usage.UsageEvent.FromString(parties)
    return read.merchant_id, read.consumer_id


def day_text(day: int) -> str:
    """Of days since 1970."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date().isoformat()
