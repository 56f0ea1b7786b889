"""Reports: which range of time one covers, and how much one may hold. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.errors import FieldViolation, InvalidArgumentError
from google.protobuf.timestamp_pb2 import Timestamp

# A whole day by the minute fits in, and four years by the day.
MAX_BUCKETS = 1500
# What one answer may hold (well under the 4 MiB of a message).
MAX_POINTS = 20_000


class _Scale(NamedTuple):
    name: str  # in usage_rollups.granularity
    bucket: timedelta
    default_span: timedelta


_SCALES = {
    pb.MINUTE: _Scale("minute", timedelta(minutes=1), timedelta(hours=1)),
    pb.HOUR: _Scale("hour", timedelta(hours=1), timedelta(hours=24)),
    pb.DAY: _Scale("day", timedelta(days=1), timedelta(days=30)),
}

_GROUPS = {pb.SERVICE: "service", pb.KEY: "key", pb.STATUS_CLASS: "status_class"}


@dataclass(frozen=True, slots=True)
class ReportRange:
    """From `start` up to, and without, `end`: both on the edge of a bucket."""

    start: datetime
    end: datetime
    granularity: pb.Granularity.ValueType

    @property
    def granularity_name(self) -> str:
        """What usage_rollups calls it: minute, hour or day."""
        return _SCALES[self.granularity].name


class UsageRow(NamedTuple):
    """What the rollups of one bucket and group add up to; times in milliseconds."""

    bucket_start: datetime
    group_name: str
    requests: int
    billable_requests: int
    request_bytes: int
    response_bytes: int
    response_time_ms_sum: int


def group_name(group_by: pb.GroupBy.ValueType) -> str:
    """What the queries call this way of grouping; "" when figures are told apart by time only."""
    return _GROUPS.get(group_by, "")


def report_range(
    start: datetime | None, end: datetime | None, granularity: pb.Granularity.ValueType, now: datetime
) -> ReportRange:
    """The whole buckets that cover [start, end). A range without an end ends `now`, and one without a
    start begins the granularity's default span before its end.

    Raises InvalidArgumentError: range_invalid, range_too_large.
    """
    granularity = granularity or pb.DAY
    _, bucket, default_span = _SCALES[granularity]
    try:
        end = now if end is None else end
        start = end - default_span if start is None else start
        if start >= end:
            raise _invalid("The start must be before the end.")
        first, last = _floor(start, bucket), _ceil(end, bucket)
    except OverflowError:
        # The default span, or whole buckets, went beyond what a datetime can hold.
        raise _invalid("The range must lie within the years 1 to 9999.") from None
    if (last - first) // bucket > MAX_BUCKETS:
        raise too_large(f"The range must have at most {MAX_BUCKETS} buckets.")
    return ReportRange(first, last, granularity)


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


def _invalid(message: str, field: str = "start") -> InvalidArgumentError:
    return InvalidArgumentError("range_invalid", message, [FieldViolation(field, message)])


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _floor(at: datetime, bucket: timedelta) -> datetime:
    return at - (at - _EPOCH) % bucket


def _ceil(at: datetime, bucket: timedelta) -> datetime:
    return at + (_EPOCH - at) % bucket
