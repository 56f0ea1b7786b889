"""Usage reports as pages need them: every bucket, those without requests too, columns by group, shares and
changes against the time before. Pure. Where a report couldn't be had figures are None, shown as a dash."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.clock import from_timestamp, to_timestamp, utc_now
from ams_common.money import to_decimal
from google.type.money_pb2 import Money
from markupsafe import Markup

from ams_bff.usage.ranges import bucket_starts, span_ending

OTHERS = "Others"
# What a report calls the groups that aren't among the top ones.
REST = "other"
# What overviews look back on.
SHOWN_DAYS = 30
# As many lines as a chart's colours tell apart.
_MOST_COLUMNS = 5
_UTC = ZoneInfo("UTC")

# A bucket as ui.chart draws it: where it starts (Unix time), what to call it, a value for each line.
Row: TypeAlias = tuple[int, str | Markup, list[int]]
# From when to when something is there; None: it has no end.
Lifetime: TypeAlias = tuple[datetime, datetime | None]
Value: TypeAlias = Callable[[pb.UsageFigures], int]


@dataclass(frozen=True, slots=True)
class Group:
    """The figures of one group over the whole time."""

    name: str  # as the report has it: an id, a pseudonym, a status class
    figures: pb.UsageFigures
    points: tuple[int, ...]  # requests by bucket


@dataclass(frozen=True, slots=True)
class Trend:
    """A figure over the shown days, UTC. Not known: nobody could be asked."""

    starts: Sequence[datetime]
    values: Sequence[int]
    before: int
    is_known: bool = True

    @property
    def total(self) -> int | None:
        return sum(self.values) if self.is_known else None

    @property
    def change(self) -> float | None:
        """The shown days against as many before, as `change()`."""
        return change(sum(self.values), self.before)

    @property
    def rows(self) -> list[Row] | None:
        """Returns the days in the form that ui.chart takes."""
        if not self.is_known:
            return None
        days = zip(self.starts, self.values, strict=True)
        return [(int(start.timestamp()), f"{start:%-d %b}", [value]) for start, value in days]


@dataclass(frozen=True, slots=True)
class Gauge:
    """How many there were at the end of each of the shown days, UTC, the last of which is now; and before
    them."""

    values: Sequence[int]
    before: int

    @property
    def change(self) -> float | None:
        """Now against the time before the shown days, as `change()`."""
        return change(self.values[-1], self.before)

    @property
    def line(self) -> Sequence[int]:
        """The values to draw; none while there was nothing on any day before: one step at the right says
        nothing."""
        return self.values if any(self.values[:-1]) else ()


def change(now: float, before: float) -> float | None:
    """As a fraction of what was before; None when there was nothing to compare with."""
    return (now - before) / before if before else None


def change_of_sums(now: Sequence[Money], before: Sequence[Money]) -> float | None:
    """As `change`; None also for sums in several or other currencies."""
    if len(now) != 1 or len(before) != 1 or now[0].currency_code != before[0].currency_code:
        return None
    return change(float(to_decimal(now[0])), float(to_decimal(before[0])))


def span_fields(now: datetime, granularity: pb.Granularity.ValueType, count: int) -> dict[str, Any]:
    """The fields of a request for the span of `span_ending`."""
    start, end = span_ending(now, granularity, count)
    return {"start": to_timestamp(start), "end": to_timestamp(end), "granularity": granularity}


def starts_of(report: pb.UsageReport, zone: ZoneInfo = _UTC) -> list[datetime]:
    """Where each bucket starts, those without requests too."""
    return bucket_starts(from_timestamp(report.start), from_timestamp(report.end), report.granularity, zone)


def points_of(report: pb.UsageReport, zone: ZoneInfo = _UTC) -> list[int]:
    """Sums up the requests of all groups by bucket."""
    by_start = _sum_by_start(report, lambda figures: figures.requests)
    return [by_start[start] for start in starts_of(report, zone)]


def groups_of(report: pb.UsageReport, zone: ZoneInfo = _UTC) -> list[Group]:
    """One for each group, the busiest first; what isn't among the top ones comes last."""
    by_name: defaultdict[str, dict[datetime, int]] = defaultdict(dict)
    for point in report.points:
        by_name[point.group][from_timestamp(point.bucket_start)] = point.figures.requests
    starts = starts_of(report, zone)
    groups = [
        Group(each.group, each.figures, tuple(by_name[each.group].get(start, 0) for start in starts))
        for each in report.groups
    ]
    return sorted(groups, key=lambda group: (group.name == REST, -group.figures.requests, group.name))


def columns_of(
    groups: Sequence[Group], points: Sequence[int], label: Callable[[str], str]
) -> tuple[list[str], list[list[int]]]:
    """Names and requests by bucket, for a chart: the busiest groups, the rest together; `points` where there
    are none."""
    if not groups:
        return ["Requests"], [list(points)]
    shown = [group for group in groups if group.name != REST][:_MOST_COLUMNS]
    rest = [group for group in groups if group not in shown]
    if len(rest) == 1 and rest[0].name != REST:
        shown, rest = list(groups), []
    names = [label(group.name) for group in shown]
    columns = [list(group.points) for group in shown]
    if rest:
        names.append(OTHERS)
        columns.append([sum(values) for values in zip(*(group.points for group in rest), strict=True)])
    return names, columns


def trend(
    report: pb.UsageReport | None,
    value: Value = lambda figures: figures.requests,
    now: datetime | None = None,
) -> Trend:
    """From the report of twice SHOWN_DAYS, whatever it is grouped by."""
    if report is None:
        return Trend((), (), 0, is_known=False)
    by_start = _sum_by_start(report, value)
    first = _first_day(now)
    starts = [first + timedelta(days=day) for day in range(SHOWN_DAYS)]
    before = sum(amount for start, amount in by_start.items() if start < first)
    return Trend(starts, [by_start[start] for start in starts], before)


def billable_trend(report: pb.UsageReport | None, now: datetime | None = None) -> Trend:
    """As `trend`, of the requests that are charged."""
    return trend(report, lambda figures: figures.billable_requests, now)


def by_group(report: pb.UsageReport | None, now: datetime | None = None) -> Mapping[str, int | None]:
    """Requests of the shown days by group, of any that is asked for."""
    if report is None:
        return defaultdict(lambda: None)
    first = _first_day(now)
    totals: Counter[str] = Counter()
    for point in report.points:
        if from_timestamp(point.bucket_start) >= first:
            totals[point.group] += point.figures.requests
    return totals


def gauge(lifetimes: Iterable[Lifetime], now: datetime | None = None) -> Gauge:
    """How many things there were, by their lifetimes."""
    now = now or utc_now()
    first, known = _first_day(now), list(lifetimes)

    def count_at(at: datetime) -> int:
        return sum(start <= at and (end is None or end > at) for start, end in known)

    ends = [first + timedelta(days=day) for day in range(1, SHOWN_DAYS)]
    return Gauge([count_at(at) for at in (*ends, now)], count_at(first))


def _sum_by_start(report: pb.UsageReport, value: Value) -> Counter[datetime]:
    sums: Counter[datetime] = Counter()
    for point in report.points:
        sums[from_timestamp(point.bucket_start)] += value(point.figures)
    return sums


def _first_day(now: datetime | None) -> datetime:
    return span_ending(now or utc_now(), pb.DAY, SHOWN_DAYS)[0]
