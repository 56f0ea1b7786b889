"""Usage reports as pages need them: every bucket, columns by group, shares and changes. Pure."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ams.usage.v1 import usage_service_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

BUCKETS = {pb.MINUTE: timedelta(minutes=1), pb.HOUR: timedelta(hours=1), pb.DAY: timedelta(days=1)}
OTHERS = "Others"
# As many lines as a chart's colours tell apart.
_MOST_COLUMNS = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Row = tuple[int, Any, list[int]]


@dataclass(frozen=True, slots=True)
class Group:
    """The figures of one group over the whole time."""

    name: str  # as the report has it: an id, a prefix, a status class
    requests: int
    billable_requests: int
    request_bytes: int
    response_bytes: int
    response_time_ms: float  # the mean
    points: tuple[int, ...]  # requests by bucket


def span_ending(
    now: datetime, granularity: pb.Granularity.ValueType, count: int
) -> tuple[datetime, datetime]:
    """[start, end) of the `count` buckets of which the last holds `now`."""
    bucket = BUCKETS[granularity]
    end = now - (now - _EPOCH) % bucket + bucket
    return end - count * bucket, end


def starts_of(report: pb.UsageReport) -> list[datetime]:
    """Where each bucket starts, those without requests too."""
    start, end = _moment(report.start), _moment(report.end)
    bucket = BUCKETS[report.granularity]
    return [start + index * bucket for index in range((end - start) // bucket)]


def points_of(report: pb.UsageReport) -> list[int]:
    """Requests by bucket, all groups together."""
    found: defaultdict[datetime, int] = defaultdict(int)
    for point in report.points:
        found[_moment(point.bucket_start)] += point.figures.requests
    return [found[start] for start in starts_of(report)]


def groups_of(report: pb.UsageReport) -> list[Group]:
    """One for each group, the busiest first."""
    of: defaultdict[str, list[pb.UsagePoint]] = defaultdict(list)
    for point in report.points:
        of[point.group].append(point)
    starts = starts_of(report)
    groups = [_group(name, points, starts) for name, points in of.items()]
    return sorted(groups, key=lambda group: (-group.requests, group.name))


def _group(name: str, points: Sequence[pb.UsagePoint], starts: Sequence[datetime]) -> Group:
    figures = [point.figures for point in points]
    by_start = {_moment(point.bucket_start): point.figures.requests for point in points}
    requests = sum(each.requests for each in figures)
    time_ms = sum(each.mean_response_time_ms * each.requests for each in figures)
    return Group(
        name,
        requests,
        sum(each.billable_requests for each in figures),
        sum(each.request_bytes for each in figures),
        sum(each.response_bytes for each in figures),
        time_ms / requests if requests else 0.0,
        tuple(by_start.get(start, 0) for start in starts),
    )


def columns_of(
    report: pb.UsageReport, groups: Sequence[Group], label: Callable[[str], str]
) -> tuple[list[str], list[list[int]]]:
    """Names and requests by bucket, for a chart: the busiest groups, the rest together."""
    if not groups:
        return ["Requests"], [points_of(report)]
    shown, rest = groups[:_MOST_COLUMNS], groups[_MOST_COLUMNS:]
    if len(rest) == 1 or not rest:
        shown, rest = groups, []
    names = [label(group.name) for group in shown]
    columns = [list(group.points) for group in shown]
    if rest:
        names.append(OTHERS)
        columns.append([sum(values) for values in zip(*(group.points for group in rest), strict=True)])
    return names, columns


def change(now: float, before: float) -> float | None:
    """As a fraction of what was before; None when there was nothing to compare with."""
    return (now - before) / before if before else None


def _moment(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=UTC)
