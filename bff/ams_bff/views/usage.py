"""Usage with one live chart, alike for consumers, merchants and admins."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.clock import to_timestamp, utc_now
from ams_common.money import to_decimal
from ams_rating.currencies import round_to_minor_unit
from google.type.money_pb2 import Money
from starlette.responses import Response

from ams_bff.http.routing import View, page
from ams_bff.http.visits import Visit
from ams_bff.live.snapshots import LiveSnapshot, etag_of, live_view
from ams_bff.ui.csv_files import Cell, csv_file
from ams_bff.usage.figures import REST, Group, change, columns_of, groups_of, points_of, starts_of
from ams_bff.usage.ranges import (
    DEFAULT_PRESET,
    FILTERS_OF,
    GRANULARITY_NAMES,
    GROUPINGS,
    GROUPS_OF,
    PRESETS,
    TOPS,
    UsageQuery,
)
from ams_bff.usage.reports import ask_usage, chart_rows, spike_words, summary_of
from ams_bff.usage.spending import GROUPS as SPEND_GROUPS
from ams_bff.usage.spending import Spending, spend_of_range
from ams_bff.views.usage_names import STATUS_TONES, Labels, choices_of, filters_in_words, labels_of

PATHS = {CONSUMER: "/dashboard/usage", MERCHANT: "/merchant/usage", ADMIN: "/admin/usage"}
FIGURES = (
    "requests",
    "billable_requests",
    "errors",
    "request_bytes",
    "response_bytes",
    "request_messages",
    "response_messages",
    "mean_response_time_ms",
    "p50_response_time_ms",
    "p95_response_time_ms",
    "p99_response_time_ms",
)


@dataclass(frozen=True)
class PageData:
    """Everything that the page shows and the files hold."""

    query: UsageQuery
    report: pb.UsageReport
    is_consumers: bool  # who see what usage costs beside it
    groups: Sequence[Group]
    labels: Labels
    filters: Sequence[tuple[str, str, str]]  # the parameter's name, what it filters, in words
    spending: Spending | None = None

    @property
    def tells_spend(self) -> bool:
        """Whether the table has a column for it, with or without figures: statuses cost nothing by
        themselves."""
        return self.is_consumers and self.query.group in SPEND_GROUPS and "status" not in self.query.filters

    @cached_property
    def spend_of(self) -> Mapping[str, Sequence[Money]]:
        """By the groups that the table shows; none where it isn't known."""
        names = [group.name for group in self.groups]
        return self.spending.of_groups(names) if self.spending is not None else {}

    def label(self, group: str) -> str:
        return self.labels.get(group) or group

    def tone(self, group: str) -> str:
        """The colour that a group has by its meaning, "" for none."""
        return STATUS_TONES.get(group, "plain") if self.query.group == "status" else ""

    def is_narrowing(self, group: str) -> bool:
        """Whether the page can be of this group alone."""
        return bool(group) and group != REST


async def show_usage(visit: Visit) -> Response:
    """With what it can be narrowed to."""
    snapshot, choices = await asyncio.gather(load_usage(visit), choices_of(visit, _query_of(visit).filters))
    return await visit.render("usage/show.html", choices=choices, etag=snapshot.etag, **snapshot.context)


async def load_usage(visit: Visit) -> LiveSnapshot:
    """The page but for what it can be narrowed to."""
    data = await load_data(visit)
    report, query = data.report, data.query
    total, before = report.total, report.previous
    points = points_of(report, visit.zone)
    names, columns = columns_of(data.groups, points, data.label)
    context = {
        "data": data,
        "path": PATHS[visit.role],
        "presets": PRESETS.values(),
        "granularities": [GRANULARITY_NAMES[each] for each in query.granularities],
        "groupings": GROUPS_OF[visit.role],
        "tops": TOPS,
        "default_preset": DEFAULT_PRESET,
        "today": utc_now().astimezone(visit.zone).date().isoformat(),
        "total": total,
        "changes": {
            "requests": change(total.requests, before.requests),
            "errors": change(_error_rate(total), _error_rate(before)),
            "time": change(total.p95_response_time_ms, before.p95_response_time_ms),
        },
        "points": points,
        "names": names,
        "tones": [data.tone(group.name) for group in data.groups] if query.group == "status" else [],
        "rows": chart_rows(visit, report, columns, visit.zone),
        "marks": spike_words(report),
        "summary": summary_of(visit, report, query.words, visit.zone),
    }
    spent = [data.spending.now, data.spending.before] if data.spending is not None else []
    return LiveSnapshot(context, etag_of(visit, report, *spent, repr(sorted(data.labels.items()))))


def _error_rate(figures: pb.UsageFigures) -> float:
    return figures.errors / figures.requests if figures.requests else 0.0


async def download_table(visit: Visit) -> Response:
    """A row for each group. What they cost has a column for each currency: amounts of several can't be
    added up."""
    data = await load_data(visit)
    spends = data.spend_of if data.tells_spend else {}
    currencies = sorted({amount.currency_code for amounts in spends.values() for amount in amounts})
    rows = [
        (
            group.name,
            data.label(group.name),
            *figure_cells(group.figures),
            *_spend_cells(spends.get(group.name, ()), currencies),
        )
        for group in data.groups
    ]
    columns = (data.query.group, "name", *FIGURES, *(f"spend_{currency}" for currency in currencies))
    return csv_file(f"usage-by-{data.query.group}", columns, rows)


def _spend_cells(amounts: Iterable[Money], currencies: Sequence[str]) -> list[Cell]:
    found = {
        amount.currency_code: f"{round_to_minor_unit(to_decimal(amount), amount.currency_code):f}"
        for amount in amounts
    }
    return [found.get(currency, "0") for currency in currencies]


def figure_cells(figures: pb.UsageFigures) -> list[Cell]:
    """Figures as a row of a file has them."""
    values = (getattr(figures, name) for name in FIGURES)
    return [round(value, 1) if isinstance(value, float) else value for value in values]


async def download_chart(visit: Visit) -> Response:
    """The chart: a row for each bucket with when it starts in the reader's zone, a column for each line."""
    data = await load_data(visit)
    points = points_of(data.report, visit.zone)
    names, columns = columns_of(data.groups, points, data.label)
    buckets = zip(starts_of(data.report, visit.zone), zip(*columns, strict=True), strict=True)
    rows = [(start.astimezone(visit.zone).isoformat(), *values) for start, values in buckets]
    return csv_file(f"usage-by-{data.query.granularity_name}", ("start", *names), rows)


async def load_data(visit: Visit) -> PageData:
    """Asks for what the URL wants, and for the names of what it holds."""
    query = _query_of(visit)
    fields: Mapping[str, str] = {FILTERS_OF[visit.role][name]: text for name, text in query.filters.items()}
    is_consumers = visit.role == CONSUMER
    asked = ask_usage(
        visit,
        start=to_timestamp(query.start),
        end=to_timestamp(query.end),
        granularity=query.granularity,
        time_zone=visit.zone.key,
        group_by=GROUPINGS[query.group],
        top=0 if query.group == "status" else query.top,
        with_previous=True,
        **fields,
    )
    report, spending = await asyncio.gather(
        asked, spend_of_range(visit, query) if is_consumers else _nothing()
    )
    groups = groups_of(report, visit.zone)
    if query.group == "status":
        groups.sort(key=lambda group: group.name)
    labels, filters = await asyncio.gather(
        labels_of(visit, query.group, (group.name for group in groups)),
        filters_in_words(visit, query.filters),
    )
    return PageData(query, report, is_consumers, groups, labels, filters, spending)


async def _nothing() -> None:
    return None


def _query_of(visit: Visit) -> UsageQuery:
    return UsageQuery.parse(visit.query, visit.role, visit.zone, utc_now())


def _views_of(role: Role.ValueType) -> tuple[View, ...]:
    path = PATHS[role]
    return (
        page(path, show_usage, role),
        live_view(path, load_usage, "usage/live.html", role),
        page(f"{path}/table.csv", download_table, role),
        page(f"{path}/chart.csv", download_chart, role),
    )


VIEWS = (*_views_of(CONSUMER), *_views_of(MERCHANT), *_views_of(ADMIN))
