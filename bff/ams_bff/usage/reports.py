"""Asking usage-svc for the area's role, and what a chart shows of the answer."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.clock import from_timestamp, utc_now
from markupsafe import Markup

from ams_bff.http.feeds import WATCH_USAGE_OF
from ams_bff.http.visits import Visit
from ams_bff.ui.formats import counted, shown_time
from ams_bff.usage.figures import SHOWN_DAYS, Row, points_of, span_fields, starts_of
from ams_bff.usage.ranges import GRANULARITY_NAMES

_UTC = ZoneInfo("UTC")


async def ask_usage(visit: Visit, **fields: Any) -> pb.UsageReport:
    """`fields`: the request's, as the role's RPC has them. A page that goes on follows the answer."""
    usage = visit.api.usage
    role = visit.role if visit.role in WATCH_USAGE_OF else CONSUMER
    ask = {CONSUMER: usage.GetConsumerUsage, MERCHANT: usage.GetMerchantUsage, ADMIN: usage.GetPlatformUsage}
    return await visit.ask_or_follow(
        WATCH_USAGE_OF[role], pb.GetUsageRequest(**fields), lambda: ask[role](**fields)
    )


async def ask_shown(visit: Visit, now: datetime | None = None, **fields: Any) -> pb.UsageReport | None:
    """The report of the days that overviews show and as many before; None when usage-svc is down.

    `fields`: as of `ask_usage()`.
    """
    days = span_fields(now or utc_now(), pb.DAY, 2 * SHOWN_DAYS)
    return await visit.or_none_if_down(ask_usage(visit, **days, **fields))


def bucket_label(start: datetime, granularity: pb.Granularity.ValueType, zone: ZoneInfo) -> str | Markup:
    """What to call a bucket: hours and minutes as the reader's clock has them, days by their date."""
    match granularity:
        case pb.MONTH:
            return start.astimezone(zone).strftime("%b %Y")
        case pb.DAY:
            return start.astimezone(zone).strftime("%-d %b %Y")
        case _:
            return shown_time(start, zone, "%-d %b, %H:%M")


def chart_rows(
    visit: Visit, report: pb.UsageReport, columns: Sequence[Sequence[int]], zone: ZoneInfo = _UTC
) -> list[Row]:
    """A row for each bucket. `zone`: in which days begin; hours are called as in the reader's."""
    named_in = visit.zone if report.granularity in (pb.MINUTE, pb.HOUR) else zone
    return [
        (int(start.timestamp()), bucket_label(start, report.granularity, named_in), list(values))
        for start, values in zip(starts_of(report, zone), zip(*columns, strict=True), strict=True)
    ]


def spike_words(report: pb.UsageReport) -> Mapping[int, str]:
    """By the time where a bucket starts (Unix time), how much more, or less, was expected of it."""
    return {
        int(from_timestamp(spike.bucket_start).timestamp()): (
            f"{'Above' if spike.requests > spike.expected_requests else 'Below'} the usual, "
            f"which is about {round(spike.expected_requests):,}"
        )
        for spike in report.spikes
    }


def summary_of(visit: Visit, report: pb.UsageReport, words: str, zone: ZoneInfo = _UTC) -> str:
    """The chart, for who doesn't see it. `words`: the time, "the last 24 hours"."""
    points = points_of(report, zone)
    if not any(points):
        return f"No requests in {words}."
    busiest = starts_of(report, zone)[points.index(max(points))]
    forms = {pb.DAY: "%-d %B", pb.MONTH: "%B %Y"}
    named_in = visit.zone if report.granularity in (pb.MINUTE, pb.HOUR) else zone
    at = busiest.astimezone(named_in).strftime(forms.get(report.granularity, "%-d %B, %H:%M"))
    spikes = f" {counted(len(report.spikes), 'bucket')} out of the ordinary." if report.spikes else ""
    return (
        f"{counted(sum(points), 'request')} in {words}. The most were {max(points):,} "
        f"in the {GRANULARITY_NAMES[report.granularity]} of {at}.{spikes}"
    )
