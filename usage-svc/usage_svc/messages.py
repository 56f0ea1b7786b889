"""The messages that usage-svc answers with and publishes."""

from collections.abc import Sequence

from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.clock import to_timestamp

from usage_svc.reports import MAX_POINTS, ReportRange, UsageRow, too_large


def report_message(period: ReportRange, rows: Sequence[UsageRow]) -> pb.UsageReport:
    """The report of `rows`, which are in order. Raises InvalidArgumentError range_too_large."""
    if len(rows) > MAX_POINTS:
        raise too_large("The report would have too many figures: ask for a shorter range or fewer groups.")
    points = [
        pb.UsagePoint(
            bucket_start=to_timestamp(row.bucket_start), group=row.group_name, figures=_figures([row])
        )
        for row in rows
    ]
    return pb.UsageReport(
        start=to_timestamp(period.start),
        end=to_timestamp(period.end),
        granularity=period.granularity,
        points=points,
        total=_figures(rows),
    )


def _figures(rows: Sequence[UsageRow]) -> pb.UsageFigures:
    requests = sum(row.requests for row in rows)
    time_ms = sum(row.response_time_ms_sum for row in rows)
    return pb.UsageFigures(
        requests=requests,
        billable_requests=sum(row.billable_requests for row in rows),
        request_bytes=sum(row.request_bytes for row in rows),
        response_bytes=sum(row.response_bytes for row in rows),
        # Of the sums: the mean of the buckets' means would weigh a quiet minute like a busy one.
        mean_response_time_ms=time_ms / requests if requests else 0.0,
    )
