"""Who uses a merchant's services, by pseudonym: never an identity (PRD-4.2)."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ams.policy.v1.policy_pb2 import MERCHANT
from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.clock import to_timestamp, utc_now
from ams_common.errors import NotFoundError
from starlette.responses import Response

from ams_bff.http.routing import page
from ams_bff.http.visits import Visit
from ams_bff.ui.csv_files import Cells, csv_file
from ams_bff.usage.figures import change, groups_of, points_of, starts_of
from ams_bff.usage.ranges import DEFAULT_PRESET, PRESETS, UsageQuery, span_ending
from ams_bff.usage.reports import ask_usage, bucket_label, chart_rows, spike_words, summary_of
from ams_bff.views.merchant_access import load_access
from ams_bff.views.naming import name_of, service_names
from ams_bff.views.usage import FIGURES, figure_cells
from ams_bff.views.usage_names import labels_of

PATH = "/merchant/consumers"
_SERVICE_PATH = "/merchant/services/{service_id}/consumers"
# As many as one report names; the others are summed.
_MOST = 100
_MONTHS, _DAYS, _MOST_PARTS = 12, 30, 25
_DEFAULT = "30d"


async def list_consumers(visit: Visit) -> Response:
    """The busiest first, of all services or of the one that the path names."""
    query, service_id = _query_of(visit), _service_id(visit)
    report, service_name = await asyncio.gather(
        _ask_consumers(visit, query, service_id), _service_name(visit, service_id)
    )
    return await visit.render(
        "merchant/consumers.html",
        query=query,
        presets=[preset for preset in PRESETS.values() if preset != DEFAULT_PRESET],
        default_range=_DEFAULT,
        report=report,
        groups=groups_of(report, visit.zone),
        change=change(report.total.requests, report.previous.requests),
        points=points_of(report, visit.zone),
        service_id=service_id,
        service_name=service_name,
        today=utc_now().astimezone(visit.zone).date(),
    )


async def download_consumers(visit: Visit) -> Response:
    """A row for each."""
    report = await _ask_consumers(visit, _query_of(visit), _service_id(visit))
    rows: list[Cells] = [[each.name, *figure_cells(each.figures)] for each in groups_of(report, visit.zone)]
    return csv_file("consumers", ("consumer", *FIGURES), rows)


async def find_consumer(visit: Visit) -> Response:
    """On to the page of a pseudonym that was typed."""
    text = visit.query.get("pseudonym", "")
    typed = "".join(letter for letter in text if letter.isascii() and (letter.isalnum() or letter in "-_"))
    return await visit.redirect(f"{PATH}/{typed[:64]}" if typed else PATH)


async def show_consumer(visit: Visit) -> Response:
    """Month by month, day by day with what is out of the ordinary, by service and by key.

    Raises NotFoundError for one that has no access, and has used nothing of the merchant's in two years.
    """
    pseudonym, now = visit.parameter("pseudonym"), utc_now()
    access = await load_access(visit)
    months, days, by_service, by_key = await asyncio.gather(
        _ask_one(visit, now, pb.MONTH, _MONTHS),
        _ask_one(visit, now, pb.DAY, _DAYS),
        _ask_one(visit, now, pb.MONTH, _MONTHS, group_by=pb.SERVICE, top=_MOST_PARTS),
        _ask_one(visit, now, pb.MONTH, _MONTHS, group_by=pb.KEY, top=_MOST_PARTS),
    )
    if not months.total.requests and not months.previous.requests and not access["access"]:
        raise NotFoundError("consumer_not_found", "There is no such consumer among yours.")
    services = groups_of(by_service, visit.zone)
    return await visit.render(
        "merchant/consumer.html",
        pseudonym=pseudonym,
        months=months,
        days=days,
        month_rows=chart_rows(visit, months, [points_of(months, visit.zone)], visit.zone),
        month_summary=summary_of(visit, months, "the last 12 months", visit.zone),
        day_rows=chart_rows(visit, days, [points_of(days, visit.zone)], visit.zone),
        day_marks=spike_words(days),
        day_summary=summary_of(visit, days, "the last 30 days", visit.zone),
        change=change(days.total.requests, days.previous.requests),
        history=_history(visit, months),
        services=services,
        service_labels=await labels_of(visit, "service", (each.name for each in services)),
        keys=groups_of(by_key, visit.zone),
        today=now.astimezone(visit.zone).date(),
        **access,
    )


async def download_history(visit: Visit) -> Response:
    """A row for each month."""
    months = await _ask_one(visit, utc_now(), pb.MONTH, _MONTHS)
    rows: list[Cells] = [[label, *figure_cells(figures)] for label, figures in _history(visit, months)]
    return csv_file(f"consumer-{visit.parameter('pseudonym')}", ("month", *FIGURES), rows)


def _history(visit: Visit, months: pb.UsageReport) -> Sequence[tuple[str, pb.UsageFigures]]:
    """The months, the newest first, those without calls too."""
    by_start = {point.bucket_start.seconds: point.figures for point in months.points}
    return [
        (
            str(bucket_label(start, pb.MONTH, visit.zone)),
            by_start.get(int(start.timestamp()), pb.UsageFigures()),
        )
        for start in reversed(starts_of(months, visit.zone))
    ]


def _query_of(visit: Visit) -> UsageQuery:
    query = {"range": _DEFAULT, **visit.query}
    return UsageQuery.parse(query, visit.role, visit.zone, utc_now())


def _service_id(visit: Visit) -> str:
    return str(visit.request.path_params.get("service_id", ""))


async def _service_name(visit: Visit, service_id: str) -> str:
    """Raises NotFoundError for a service that isn't the merchant's."""
    if not service_id:
        return ""
    known = await service_names(visit, [service_id])
    if known is not None and service_id not in known:
        raise NotFoundError("service_not_found", "There is no such service among yours.")
    return name_of(known, service_id)


async def _ask_consumers(visit: Visit, query: UsageQuery, service_id: str) -> pb.UsageReport:
    return await ask_usage(
        visit,
        start=to_timestamp(query.start),
        end=to_timestamp(query.end),
        granularity=query.granularity,
        time_zone=visit.zone.key,
        group_by=pb.CONSUMER,
        service_id=service_id,
        top=_MOST,
        with_previous=True,
    )


async def _ask_one(
    visit: Visit, now: datetime, grain: pb.Granularity.ValueType, count: int, **fields: Any
) -> pb.UsageReport:
    start, end = span_ending(now, grain, count, visit.zone)
    wanted: Mapping[str, Any] = {"service_id": visit.query.get("service", ""), **fields}
    return await ask_usage(
        visit,
        start=to_timestamp(start),
        end=to_timestamp(end),
        granularity=grain,
        time_zone=visit.zone.key,
        consumer=visit.parameter("pseudonym"),
        with_previous=True,
        **wanted,
    )


VIEWS = (
    page(PATH, list_consumers, MERCHANT),
    page(f"{PATH}/table.csv", download_consumers, MERCHANT),
    page(f"{PATH}/find", find_consumer, MERCHANT),
    page(_SERVICE_PATH, list_consumers, MERCHANT),
    page(f"{_SERVICE_PATH}/table.csv", download_consumers, MERCHANT),
    page(f"{PATH}/{{pseudonym}}", show_consumer, MERCHANT),
    page(f"{PATH}/{{pseudonym}}/table.csv", download_history, MERCHANT),
)
