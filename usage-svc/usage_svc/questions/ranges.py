"""The buckets of time that a question is about, as its asker's calendar has them. Pure.

Days and months begin at midnight in a time zone, whose rules come from zoneinfo and from nowhere else:
PostgreSQL has a time zone database of its own and would disagree with it now and then, so it is only ever
given UTC instants. Minutes and hours are those of UTC in every zone; where clocks stand half an hour off, an
hour begins at half past.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.errors import FieldViolation, InvalidArgumentError
from google.protobuf.timestamp_pb2 import Timestamp

# A whole day by the minute fits in, and four years by the day.
MAX_BUCKETS = 1500

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Grain(NamedTuple):
    """Buckets are counted: `number_of` gives that of a moment, `start_of` when it begins."""

    number_of: Callable[[datetime, ZoneInfo], int]
    start_of: Callable[[int, ZoneInfo], datetime]
    default_span: timedelta


def _by_clock(bucket: timedelta, default_span: timedelta) -> _Grain:
    return _Grain(
        lambda at, zone: (at - _EPOCH) // bucket, lambda number, zone: _EPOCH + number * bucket, default_span
    )


def _month_of(at: datetime, zone: ZoneInfo) -> int:
    local = at.astimezone(zone)
    return local.year * 12 + local.month - 1


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """When a day begins. Where clocks skip midnight or repeat it, its first moment; to the minute, for before
    1972 some zones were seconds off."""
    return datetime.combine(day, time(), zone).astimezone(UTC).replace(second=0, microsecond=0)


_GRAINS: Mapping[pb.Granularity.ValueType, _Grain] = {
    pb.MINUTE: _by_clock(timedelta(minutes=1), timedelta(hours=1)),
    pb.HOUR: _by_clock(timedelta(hours=1), timedelta(hours=24)),
    pb.DAY: _Grain(
        lambda at, zone: at.astimezone(zone).toordinal(),
        lambda number, zone: _midnight(date.fromordinal(number), zone),
        timedelta(days=30),
    ),
    pb.MONTH: _Grain(
        _month_of,
        lambda number, zone: _midnight(date(number // 12, number % 12 + 1, 1), zone),
        timedelta(days=365),
    ),
}


@dataclass(frozen=True, slots=True)
class Period:
    """Whole buckets: number i begins at `bounds[i]` and ends where the next one begins."""

    granularity: pb.Granularity.ValueType
    bounds: tuple[datetime, ...]
    # Where as many buckets before it begin.
    previous_start: datetime

    @property
    def start(self) -> datetime:
        """When the first bucket begins."""
        return self.bounds[0]

    @property
    def end(self) -> datetime:
        """When the last bucket ends."""
        return self.bounds[-1]


def period_of(
    start: datetime | None,
    end: datetime | None,
    granularity: pb.Granularity.ValueType,
    time_zone: str,
    now: datetime,
) -> Period:
    """The whole buckets that cover [start, end). A range without an end ends `now`, and one without a
    start begins the granularity's default span before its end; `time_zone` "": UTC.

    Raises InvalidArgumentError: range_invalid, range_too_large.
    """
    granularity = granularity or pb.DAY
    grain, zone = _GRAINS[granularity], ZoneInfo(time_zone or "UTC")
    try:
        end = now if end is None else end
        start = end - grain.default_span if start is None else start
        if start >= end:
            raise _invalid("The start must be before the end.")
        first, last = _number_before(grain, start, zone), grain.number_of(end, zone)
        if grain.start_of(last, zone) < end:
            last += 1
        if last - first > MAX_BUCKETS:
            raise too_large(f"The range must have at most {MAX_BUCKETS} buckets.")
        bounds = [grain.start_of(number, zone) for number in range(first, last + 1)]
        previous_start = grain.start_of(first - (last - first), zone)
    except (OverflowError, ValueError):
        # The default span, or whole buckets, went beyond what a datetime can hold.
        raise _invalid("The range must lie well within the years 1 to 9999.") from None
    # A day that a zone has skipped, as those that changed sides of the date line did, is no bucket.
    increasing = [at for number, at in enumerate(bounds) if number == 0 or at > bounds[number - 1]]
    return Period(granularity, tuple(increasing), previous_start)


def day_in_zone(day: str, time_zone: str) -> tuple[datetime, datetime]:
    """When a day ("2026-11-29") begins and ends in a zone ("": UTC)."""
    zone, of = ZoneInfo(time_zone or "UTC"), date.fromisoformat(day)
    return _midnight(of, zone), _midnight(of + timedelta(days=1), zone)


def moment(timestamp: Timestamp, field: str) -> datetime:
    """The UTC moment that a request's `field` names.

    Raises InvalidArgumentError range_invalid for one outside of the calendar.
    """
    try:
        return timestamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise _invalid(f"The {field} must lie within the years 1 to 9999.", field) from None


def too_large(message: str) -> InvalidArgumentError:
    """The error for a request that asks for more than one report holds."""
    return InvalidArgumentError("range_too_large", message, [FieldViolation("start", message)])


def _number_before(grain: _Grain, at: datetime, zone: ZoneInfo) -> int:
    """The bucket that holds `at`."""
    number = grain.number_of(at, zone)
    # Where clocks skip midnight, the date says "tomorrow" a little before tomorrow's first moment.
    return number if grain.start_of(number, zone) <= at else number - 1


def _invalid(message: str, field: str = "start") -> InvalidArgumentError:
    return InvalidArgumentError("range_invalid", message, [FieldViolation(field, message)])
