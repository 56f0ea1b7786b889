"""Usage as overviews show it: day by day, days without requests too, and against the period before. Where
the report couldn't be had, figures are None, which pages show as a dash."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.clock import utc_now
from ams_common.money import to_decimal
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from ams_bff.http.visits import Visit
from ams_bff.views.usage import ask_usage

SHOWN_DAYS = 30

Row: TypeAlias = tuple[int, str, list[int]]
# From when to when something is there; None: it has no end.
Life: TypeAlias = tuple[datetime, datetime | None]
Value: TypeAlias = Callable[[pb.UsageFigures], int]


def requests_of(figures: pb.UsageFigures) -> int:
    """What most figures count."""
    return figures.requests


def billable_of(figures: pb.UsageFigures) -> int:
    """What is charged."""
    return figures.billable_requests


@dataclass(frozen=True, slots=True)
class Trend:
    """A figure over the shown days, UTC. Not known: nobody could be asked."""

    starts: Sequence[datetime]
    values: Sequence[int]
    before: int
    is_known: bool = True

    @property
    def total(self) -> int | None:
        """Of the shown days."""
        return sum(self.values) if self.is_known else None

    @property
    def change(self) -> float | None:
        """Against as many days before, as a fraction; None when there was nothing."""
        return (sum(self.values) - self.before) / self.before if self.before else None

    @property
    def rows(self) -> list[Row] | None:
        """For ui.chart."""
        if not self.is_known:
            return None
        days = zip(self.starts, self.values, strict=True)
        return [(int(start.timestamp()), f"{start:%-d %b}", [value]) for start, value in days]


@dataclass(frozen=True, slots=True)
class Level:
    """How many there were at the end of each of the shown days, UTC, the last of which is now; and before
    them."""

    values: Sequence[int]
    before: int

    @property
    def change(self) -> float | None:
        """Against how many there were before, as a fraction; None when there were none."""
        return (self.values[-1] - self.before) / self.before if self.before else None


def level(lives: Iterable[Life], now: datetime | None = None) -> Level:
    """Of things by their lives."""
    now = now or utc_now()
    first, known = _first_day(now), list(lives)
    ends = [first + timedelta(days=day) for day in range(1, SHOWN_DAYS)]
    return Level([_alive(known, at) for at in (*ends, now)], _alive(known, first))


def _alive(lives: Iterable[Life], at: datetime) -> int:
    return sum(start <= at and (end is None or end > at) for start, end in lives)


def change_of(now: Sequence[Money], before: Sequence[Money]) -> float | None:
    """As a fraction of what was before; None where there is nothing to compare: nothing then, or other
    currencies."""
    if len(now) != 1 or len(before) != 1 or now[0].currency_code != before[0].currency_code:
        return None
    amount_before = to_decimal(before[0])
    return float(to_decimal(now[0]) / amount_before - 1) if amount_before else None


def window(now: datetime | None = None) -> dict[str, Any]:
    """Start, end and granularity of a request for the shown days and as many before."""
    first = _first_day(now or utc_now()) - timedelta(days=SHOWN_DAYS)
    start = Timestamp()
    start.FromDatetime(first)
    end = Timestamp()
    end.FromDatetime(first + timedelta(days=2 * SHOWN_DAYS))
    return {"start": start, "end": end, "granularity": pb.DAY}


async def ask_shown(visit: Visit, now: datetime | None = None, **fields: Any) -> pb.UsageReport | None:
    """The report of `window()` for the area's role; None when usage-svc is away. `fields`: as of
    `ask_usage()`."""
    return await visit.or_none_if_down(ask_usage(visit, **window(now), **fields))


def trend(report: pb.UsageReport | None, value: Value = requests_of, now: datetime | None = None) -> Trend:
    """From the answer to a request with `window()`, whatever it is grouped by."""
    if report is None:
        return Trend((), (), 0, is_known=False)
    first = _first_day(now or utc_now())
    by_day: Counter[datetime] = Counter()
    for point in report.points:
        by_day[_start_of(point)] += value(point.figures)
    starts = [first + timedelta(days=day) for day in range(SHOWN_DAYS)]
    before = sum(amount for start, amount in by_day.items() if start < first)
    return Trend(starts, [by_day[start] for start in starts], before)


def by_group(report: pb.UsageReport | None, now: datetime | None = None) -> Mapping[str, int | None]:
    """Requests of the shown days by group, of any that is asked for."""
    if report is None:
        return defaultdict(lambda: None)
    first = _first_day(now or utc_now())
    totals: Counter[str] = Counter()
    for point in report.points:
        if _start_of(point) >= first:
            totals[point.group] += point.figures.requests
    return totals


def _first_day(now: datetime) -> datetime:
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=SHOWN_DAYS - 1)


def _start_of(point: pb.UsagePoint) -> datetime:
    return point.bucket_start.ToDatetime(tzinfo=UTC)
