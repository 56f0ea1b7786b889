"""What the URL of a usage page asks for: from when to when, in which steps, grouped by what. Pure.

Days and months are the reader's: they begin at midnight in the reader's time zone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import usage_service_pb2 as pb

Grain: TypeAlias = pb.Granularity.ValueType

GRANULARITY_NAMES = {pb.MINUTE: "minute", pb.HOUR: "hour", pb.DAY: "day", pb.MONTH: "month"}
GROUPINGS = {
    "service": pb.SERVICE,
    "key": pb.KEY,
    "project": pb.PROJECT,
    "consumer": pb.CONSUMER,
    "merchant": pb.MERCHANT,
    "status": pb.STATUS_CLASS,
}
# What each role may group by; the first is what it is without a choice.
GROUPS_OF: Mapping[Role.ValueType, Sequence[str]] = {
    CONSUMER: ("service", "key", "project", "status"),
    MERCHANT: ("service", "consumer", "key", "status"),
    ADMIN: ("service", "merchant", "consumer", "key", "status"),
}
# Fields of the request by the URL's parameters.
FILTERS_OF: Mapping[Role.ValueType, Mapping[str, str]] = {
    CONSUMER: {
        "service": "service_id",
        "key": "api_key_id",
        "project": "project_id",
        "status": "status_class",
    },
    MERCHANT: {"service": "service_id", "consumer": "consumer", "key": "key", "status": "status_class"},
    ADMIN: {
        "service": "service_id",
        "merchant": "merchant_id",
        "consumer": "consumer",
        "key": "api_key_id",
        "project": "project_id",
        "status": "status_class",
    },
}
TOPS = (10, 25, 100)
STATUS_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_SHORT = {pb.MINUTE: timedelta(minutes=1), pb.HOUR: timedelta(hours=1)}
# As many as a chart and its table can show.
_MOST_BUCKETS = 400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UTC = ZoneInfo("UTC")
_EARLIEST = date(2020, 1, 1)


@dataclass(frozen=True, slots=True)
class RangePreset:
    """How far back a page looks: its name in the URL, in words, and buckets by granularity; the first
    granularity is the one without a choice."""

    name: str
    words: str
    buckets: Mapping[Grain, int]


PRESETS = {
    preset.name: preset
    for preset in (
        RangePreset("1h", "hour", {pb.MINUTE: 60}),
        RangePreset("6h", "6 hours", {pb.MINUTE: 360}),
        RangePreset("24h", "24 hours", {pb.HOUR: 24}),
        RangePreset("7d", "7 days", {pb.HOUR: 168, pb.DAY: 7}),
        RangePreset("30d", "30 days", {pb.DAY: 30}),
        RangePreset("90d", "90 days", {pb.DAY: 90}),
        RangePreset("12mo", "12 months", {pb.MONTH: 12, pb.DAY: 365}),
    )
}
DEFAULT_PRESET = PRESETS["24h"]


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """What the URL can't ask for is as if it hadn't. `preset`: None for a range of its own, whose `days`
    are the first and the last."""

    preset: RangePreset | None
    days: tuple[date, date] | None
    start: datetime
    end: datetime
    granularity: Grain
    granularities: Sequence[Grain]
    group: str  # one of GROUPINGS
    top: int
    filters: Mapping[str, str]  # by the URL's parameters

    @classmethod
    def parse(
        cls, query: Mapping[str, str], role: Role.ValueType, zone: ZoneInfo, now: datetime
    ) -> "UsageQuery":
        """Of a URL's `range` or `from` and `to`, `by`, `group`, `top` and filters."""
        days = _days_of(query, now.astimezone(zone).date())
        preset = None if days else PRESETS.get(query.get("range", ""), DEFAULT_PRESET)
        granularities = list(preset.buckets) if preset else _grains_between(*(days or ()))
        named = {GRANULARITY_NAMES[each]: each for each in granularities}
        granularity = named.get(query.get("by", ""), granularities[0])
        if preset:
            start, end = span_ending(now, granularity, preset.buckets[granularity], zone)
        else:
            assert days, "without a preset there are days"
            start, end = midnight(days[0], zone), midnight(days[1] + timedelta(days=1), zone)
        group, top = query.get("group", ""), query.get("top", "")
        groups = GROUPS_OF[role]
        return cls(
            preset,
            days,
            start,
            end,
            granularity,
            granularities,
            group if group in groups else groups[0],
            int(top) if top in map(str, TOPS) else TOPS[0],
            {name: query[name] for name in FILTERS_OF[role] if query.get(name)},
        )

    @property
    def granularity_name(self) -> str:
        return GRANULARITY_NAMES[self.granularity]

    @property
    def words(self) -> str:
        """The time that the page is about: "the last 24 hours", "1 to 3 November 2026"."""
        if self.preset:
            return f"the last {self.preset.words}"
        assert self.days, "without a preset there are days"
        first, last = self.days
        if first == last:
            return f"{first:%-d %B %Y}"
        form = "%-d" if (first.year, first.month) == (last.year, last.month) else "%-d %B"
        return f"{first.strftime(form if first.year == last.year else '%-d %B %Y')} to {last:%-d %B %Y}"

    @property
    def before_words(self) -> str:
        """What it is compared with."""
        if self.preset:
            return f"the {self.preset.words} before"
        days = (self.end - self.start + timedelta(hours=12)).days
        return "the day before" if days == 1 else f"the {days} days before"


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """When a day begins; as usage-svc has it, to the minute."""
    return datetime.combine(day, time(), zone).astimezone(UTC).replace(second=0, microsecond=0)


def span_ending(
    now: datetime, granularity: Grain, count: int, zone: ZoneInfo = _UTC
) -> tuple[datetime, datetime]:
    """[start, end) of the `count` buckets of which the last holds `now`."""
    if bucket := _SHORT.get(granularity):
        end = now - (now - _EPOCH) % bucket + bucket
        return end - count * bucket, end
    today = now.astimezone(zone).date()
    if granularity == pb.DAY:
        tomorrow = today + timedelta(days=1)
        return midnight(tomorrow - timedelta(days=count), zone), midnight(tomorrow, zone)
    this_month = today.year * 12 + today.month - 1
    return midnight(_month(this_month + 1 - count), zone), midnight(_month(this_month + 1), zone)


def bucket_starts(start: datetime, end: datetime, granularity: Grain, zone: ZoneInfo) -> list[datetime]:
    """Where each bucket of [start, end) begins, whose bounds are those of buckets."""
    if bucket := _SHORT.get(granularity):
        return [start + index * bucket for index in range((end - start) // bucket)]
    # An hour later it is the first day everywhere, also where clocks skip midnight.
    first, last = ((at + timedelta(hours=1)).astimezone(zone).date() for at in (start, end))
    if granularity == pb.DAY:
        days = [first + timedelta(days=number) for number in range((last - first).days)]
    else:
        months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month - 1)
        days = [_month(number) for number in months]
    # A day that the zone has skipped is none.
    return sorted({midnight(day, zone) for day in days})


def day_of(text: str) -> date | None:
    """A day as URLs have it, "2026-11-29"; None for what is none, or can have no usage."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if len(text) == 10 and _EARLIEST <= day <= date(9000, 1, 1) else None


def _days_of(query: Mapping[str, str], today: date) -> tuple[date, date] | None:
    first, last = day_of(query.get("from", "")), day_of(query.get("to", ""))
    if first is None or (last is None and query.get("to")):
        return None
    last = min(last or today, today)
    return (first, last) if first <= last else None


def _grains_between(first: date, last: date) -> list[Grain]:
    """Those in which the days can be shown, the best first."""
    days = (last - first).days + 1
    months = (last.year - first.year) * 12 + last.month - first.month + 1
    counts: dict[Grain, int] = {pb.DAY: days, pb.HOUR: 24 * days, pb.MONTH: months}
    if days <= 3:
        counts = {pb.HOUR: counts.pop(pb.HOUR), **counts}
    elif days > 120:
        counts = {pb.MONTH: counts.pop(pb.MONTH), **counts}
    return [grain for grain, count in counts.items() if 2 <= count <= _MOST_BUCKETS] or [pb.HOUR]


def _month(number: int) -> date:
    return date(number // 12, number % 12 + 1, 1)
