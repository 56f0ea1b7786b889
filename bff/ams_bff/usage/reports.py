"""Asking usage-svc for the area's role, and what a chart shows of the answer."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ams.policy.v1.policy_pb2 import Role
from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.clock import utc_now
from markupsafe import Markup

from ams_bff.http.visits import Visit
from ams_bff.ui.formats import counted, shown_time
from ams_bff.usage.figures import SHOWN_DAYS, Row, points_of, span_fields, starts_of

GRANULARITY_NAMES = {pb.MINUTE: "minute", pb.HOUR: "hour", pb.DAY: "day"}


async def ask_usage(visit: Visit, **fields: Any) -> pb.UsageReport:
    """`fields`: the request's, as the role's RPC has them."""
    usage = visit.api.usage
    match visit.role:
        case Role.MERCHANT:
            return await usage.GetMerchantUsage(**fields)
        case Role.ADMIN:
            return await usage.GetPlatformUsage(**fields)
        case _:
            return await usage.GetConsumerUsage(**fields)


async def ask_shown(visit: Visit, now: datetime | None = None, **fields: Any) -> pb.UsageReport | None:
    """The report of the days that overviews show and as many before; None when usage-svc is down.

    `fields`: as of `ask_usage()`.
    """
    days = span_fields(now or utc_now(), pb.DAY, 2 * SHOWN_DAYS)
    return await visit.or_none_if_down(ask_usage(visit, **days, **fields))


def chart_rows(visit: Visit, report: pb.UsageReport, columns: Sequence[Sequence[int]]) -> list[Row]:
    """A row for each bucket, which is called as the reader's zone has it."""

    def label(start: datetime) -> str | Markup:
        # Days are UTC's: in another zone their first moment may be of the day before.
        if report.granularity == pb.DAY:
            return start.strftime("%-d %b %Y")
        return shown_time(start, visit.zone, "%-d %b, %H:%M")

    return [
        (int(start.timestamp()), label(start), list(values))
        for start, values in zip(starts_of(report), zip(*columns, strict=True), strict=True)
    ]


def summary_of(visit: Visit, report: pb.UsageReport, words: str) -> str:
    """The chart, for who doesn't see it."""
    points = points_of(report)
    if not any(points):
        return f"No requests in the last {words}."
    busiest = starts_of(report)[points.index(max(points))]
    if report.granularity == pb.DAY:
        at = busiest.strftime("%-d %B")
    else:
        at = busiest.astimezone(visit.zone).strftime("%-d %B, %H:%M")
    return (
        f"{counted(sum(points), 'request')} in the last {words}. The most were {max(points):,} "
        f"in the {GRANULARITY_NAMES[report.granularity]} of {at}."
    )
