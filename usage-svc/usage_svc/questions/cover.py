"""Which rollups a question reads: the coarsest that fit. Pure.

A month of UTC has a row of its own, and a bucket that begins and ends with UTC days is the sum of those days.
One that doesn't, such as a day in Zurich, is the UTC days nearest to it, plus the hours that these miss and
less those that they have too much; so a year of such days costs two hours a day more than one of UTC days,
where adding up hours would cost twenty-four times as much. What is left where clocks stand half an hour off
is read by the minute in the same way.

Where minutes have been thinned, such a bucket begins with the nearest full hour instead: its neighbour gains
what it loses, and no sum over all of them changes.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import pairwise
from typing import NamedTuple

from ams.usage.v1 import usage_service_pb2 as pb

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Rollup(Enum):
    """The rollups there are, by the length of their buckets, that of a month at most; coarse ones first."""

    MONTH = timedelta(days=31)
    DAY = timedelta(days=1)
    HOUR = timedelta(hours=1)
    MINUTE = timedelta(minutes=1)

    def floor(self, at: datetime) -> datetime:
        """When the bucket begins that holds `at`."""
        if self is Rollup.MONTH:
            return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        length: timedelta = self.value
        return at - (at - _EPOCH) % length

    def ceil(self, at: datetime) -> datetime:
        """The first moment that isn't before `at` at which a bucket begins. Raises OverflowError."""
        floor = self.floor(at)
        return at if floor == at else self.floor(floor + self.value)

    def nearest_edge(self, at: datetime) -> datetime:
        """The moment next to `at` at which a bucket begins."""
        before = self.floor(at)
        try:
            behind = self.ceil(at)
        except OverflowError:  # the calendar ends within the bucket
            return before
        return before if at - before < behind - at else behind


_COARSEST = {
    pb.MINUTE: Rollup.MINUTE,
    pb.HOUR: Rollup.HOUR,
    pb.DAY: Rollup.DAY,
    pb.MONTH: Rollup.MONTH,
}


class Stretch(NamedTuple):
    """Time that buckets of a rollup fill."""

    rollup: Rollup
    start: datetime
    end: datetime


class Addition(NamedTuple):
    """What is read of a slot counts in a bucket, or against it."""

    bucket: int
    sign: int


@dataclass(slots=True)
class Reading:
    """Slots of time that are read of one rollup, in order and apart from each other."""

    rollup: Rollup
    # Whether each slot begins where the one before ends: all are then one stretch.
    is_contiguous: bool
    starts: list[datetime] = field(default_factory=list)
    ends: list[datetime] = field(default_factory=list)
    additions: list[tuple[Addition, ...]] = field(default_factory=list)

    def stretches(self) -> tuple[list[datetime], list[datetime]]:
        """Starts and ends of what is read at a stretch."""
        return (self.starts[:1], self.ends[-1:]) if self.is_contiguous else (self.starts, self.ends)

    def since(self, oldest: datetime | None) -> "Reading":
        """Without the slots of which nothing is kept, when that begins with `oldest`; None: nothing is."""
        first = len(self.ends) if oldest is None else bisect_right(self.ends, oldest)
        return Reading(
            self.rollup, self.is_contiguous, self.starts[first:], self.ends[first:], self.additions[first:]
        )

    def _add(self, start: datetime, end: datetime, *additions: Addition) -> None:
        self.starts.append(start)
        self.ends.append(end)
        self.additions.append(additions)


def cover(bounds: Sequence[datetime], granularity: pb.Granularity.ValueType) -> list[Reading]:
    """What to read so that bucket i is what was used from `bounds[i]` to `bounds[i + 1]`."""
    rollups = list(Rollup)[list(Rollup).index(_COARSEST[granularity]) :]
    edges = [rollups[0].nearest_edge(at) for at in bounds]
    readings = [_between(rollups[0], edges)]
    for rollup in rollups[1:]:
        if edges == list(bounds):
            break
        finer = [rollup.nearest_edge(at) for at in bounds]
        readings.append(_moved(rollup, edges, finer))
        edges = finer
    return [reading for reading in readings if reading.starts]


def within(start: datetime, end: datetime, granularity: pb.Granularity.ValueType) -> list[Stretch]:
    """The same time without anything moved: in the middle the coarsest buckets, finer ones at both ends."""
    return _within(start, end, list(Rollup)[list(Rollup).index(_COARSEST[granularity]) :])


def _within(start: datetime, end: datetime, rollups: Sequence[Rollup]) -> list[Stretch]:
    if start >= end or not rollups:
        return []
    rollup, finer = rollups[0], rollups[1:]
    last = rollup.floor(end)
    # Within one bucket: its end may lie behind the calendar's.
    first = last if last <= start else rollup.ceil(start)
    if first >= last:
        return _within(start, end, finer)
    return [Stretch(rollup, first, last), *_within(start, first, finer), *_within(last, end, finer)]


def _between(rollup: Rollup, edges: Sequence[datetime]) -> Reading:
    reading = Reading(rollup, is_contiguous=True)
    for bucket, (start, end) in enumerate(pairwise(edges)):
        if start < end:
            reading._add(start, end, Addition(bucket, 1))
    return reading


def _moved(rollup: Rollup, edges: Sequence[datetime], finer: Sequence[datetime]) -> Reading:
    """What goes from one bucket into the next, when the edges between them are put where they belong."""
    reading = Reading(rollup, is_contiguous=False)
    for bucket, (edge, moved) in enumerate(zip(edges, finer, strict=True)):
        if edge == moved:
            continue
        sign = 1 if edge < moved else -1
        before, behind = Addition(bucket - 1, sign), Addition(bucket, -sign)
        # Before the first bucket and after the last there is none.
        within = [each for each in (before, behind) if 0 <= each.bucket < len(edges) - 1]
        reading._add(min(edge, moved), max(edge, moved), *within)
    return reading
