"""Usage with one live chart, alike for consumers, merchants and admins."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.clock import to_timestamp, utc_now
from starlette.responses import Response

from ams_bff.http.routing import View, page
from ams_bff.http.visits import Visit
from ams_bff.live.snapshots import LiveSnapshot, etag_of, live_view
from ams_bff.ui.csv_files import csv_file
from ams_bff.ui.formats import counted, shown_time
from ams_bff.usage import report_figures as figures
from ams_bff.usage.choices import people_in_words, service_choices
from ams_bff.usage.report_figures import Group
from ams_bff.views.naming import know_services, name_of

_NAMES = {pb.MINUTE: "minute", pb.HOUR: "hour", pb.DAY: "day"}
_GROUPS = {"service": pb.SERVICE, "key": pb.KEY, "status": pb.STATUS_CLASS}
_STATUS_LABELS = {
    "1xx": "1xx Informational",
    "2xx": "2xx Success",
    "3xx": "3xx Redirect",
    "4xx": "4xx Refused",
    "5xx": "5xx Failed",
}
_STATUS_TONES = {"1xx": "plain", "2xx": "good", "3xx": "info", "4xx": "warn", "5xx": "bad"}
_PATHS = {CONSUMER: "/dashboard/usage", MERCHANT: "/merchant/usage", ADMIN: "/admin/usage"}


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back a page looks: its name in the URL, in words, and buckets by granularity; the first
    granularity is the one without a choice."""

    name: str
    words: str
    buckets: Mapping[pb.Granularity.ValueType, int]
    beats: int  # of a live page, until it is worth looking again


_REACHES = {
    reach.name: reach
    for reach in (
        Reach("1h", "hour", {pb.MINUTE: 60}, 1),
        Reach("6h", "6 hours", {pb.MINUTE: 360}, 2),
        Reach("24h", "24 hours", {pb.HOUR: 24}, 1),
        Reach("7d", "7 days", {pb.HOUR: 168, pb.DAY: 7}, 3),
        Reach("30d", "30 days", {pb.DAY: 30}, 6),
        Reach("90d", "90 days", {pb.DAY: 90}, 12),
    )
}
_DEFAULT_REACH = "24h"


@dataclass(frozen=True, slots=True)
class Choice:
    """What the URL asks for; what it can't ask for is as if it hadn't."""

    reach: Reach
    granularity: pb.Granularity.ValueType
    group: str

    @classmethod
    def of(cls, visit: Visit) -> "Choice":
        reach = _REACHES.get(visit.query.get("range", ""), _REACHES[_DEFAULT_REACH])
        named = {_NAMES[granularity]: granularity for granularity in reach.buckets}
        granularity = named.get(visit.query.get("by", ""), next(iter(reach.buckets)))
        group = visit.query.get("group", "")
        return cls(reach, granularity, group if group in _GROUPS else "service")

    @property
    def granularity_name(self) -> str:
        return _NAMES[self.granularity]


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that the page shows."""

    choice: Choice
    report: pb.UsageReport
    before: pb.UsageFigures
    errors: int
    groups: Sequence[Group]
    labels: Mapping[str, str]
    filters: Sequence[tuple[str, str, str]]  # the query's name, what it filters, in words
    key_ids: Mapping[str, str]  # by prefix, the consumer's own

    def label(self, group: str) -> str:
        """What to call a group."""
        return self.labels.get(group) or group or "Other"

    def tone(self, group: str) -> str:
        """The colour that a group has by its meaning, "" for none."""
        return _STATUS_TONES.get(group, "plain") if self.choice.group == "status" else ""


async def show_usage(visit: Visit) -> Response:
    """Totals, chart and table."""
    snapshot, services = await asyncio.gather(load_usage(visit), service_choices(visit))
    return await visit.render("usage/show.html", services=services, etag=snapshot.etag, **snapshot.context)


async def load_usage(visit: Visit) -> LiveSnapshot:
    """All of it ticks."""
    seen = await _look(visit)
    labels = repr(sorted(seen.labels.items()))
    etag = etag_of(visit, seen.report, seen.before, seen.errors, labels)
    return LiveSnapshot(_context(visit, seen), etag, seen.choice.reach.beats)


async def download_table(visit: Visit) -> Response:
    """The table by group."""
    seen = await _look(visit)
    columns = (seen.choice.group, "requests", "billable", "request_bytes", "response_bytes", "mean_ms")
    rows = [
        (
            seen.label(group.name),
            group.requests,
            group.billable_requests,
            group.request_bytes,
            group.response_bytes,
            round(group.response_time_ms, 1),
        )
        for group in seen.groups
    ]
    return csv_file(f"usage-by-{seen.choice.group}", columns, rows)


async def download_chart(visit: Visit) -> Response:
    """The chart: a row for each bucket, in UTC, a column for each line."""
    seen = await _look(visit)
    names, columns = figures.columns_of(seen.report, seen.groups, seen.label)
    starts = figures.starts_of(seen.report)
    rows = [
        (start.isoformat(), *values) for start, values in zip(starts, zip(*columns, strict=True), strict=True)
    ]
    return csv_file(f"usage-by-{seen.choice.granularity_name}", ("start", *names), rows)


async def _look(visit: Visit) -> Seen:
    choice = Choice.of(visit)
    start, end = figures.span_ending(utc_now(), choice.granularity, choice.reach.buckets[choice.granularity])
    first, last = to_timestamp(start), to_timestamp(end)
    ask = partial(ask_usage, visit, granularity=choice.granularity, **_filters(visit))
    groupings = dict.fromkeys((_GROUPS[choice.group], pb.STATUS_CLASS))
    keys, before, reports = await asyncio.gather(
        _own_keys(visit, choice),
        ask(start=to_timestamp(start - (end - start)), end=first),
        asyncio.gather(*(ask(start=first, end=last, group_by=grouping) for grouping in groupings)),
    )
    report, by_status = reports[0], reports[-1]
    groups = figures.groups_of(report)
    if choice.group == "status":
        groups.sort(key=lambda group: group.name)
    labels, filters, key_ids = await _name(visit, choice, groups, keys)
    errors = sum(group.requests for group in figures.groups_of(by_status) if group.name in ("4xx", "5xx"))
    return Seen(choice, report, before.total, errors, groups, labels, filters, key_ids)


async def ask_usage(visit: Visit, **fields: Any) -> pb.UsageReport:
    """The report for the area's role. `fields`: the request's, as that role's has them."""
    match visit.role:
        case Role.MERCHANT:
            return await visit.api.usage.GetMerchantUsage(**fields)
        case Role.ADMIN:
            return await visit.api.usage.GetPlatformUsage(**fields)
        case _:
            return await visit.api.usage.GetConsumerUsage(**fields)


def _filters(visit: Visit) -> dict[str, str]:
    """Fields of the request by the URL's parameters, as the role has them."""
    known = {"service": "service_id"} | {
        CONSUMER: {"key": "api_key_id"},
        MERCHANT: {"key": "key_prefix"},
        ADMIN: {"merchant": "merchant_id", "consumer": "consumer_id"},
    }.get(visit.role, {})
    return {field: visit.query[name] for name, field in known.items() if visit.query.get(name)}


async def _name(
    visit: Visit, choice: Choice, groups: Sequence[Group], keys: Sequence[keys_pb.Key]
) -> tuple[Mapping[str, str], list[tuple[str, str, str]], Mapping[str, str]]:
    """Labels of the groups, filters in words, ids of the consumer's keys by prefix."""
    chosen, names = visit.query.get("service", ""), [group.name for group in groups]
    services = [chosen, *(names if choice.group == "service" else [])]
    known, people = await asyncio.gather(know_services(visit, services), people_in_words(visit))
    by_group = {
        "service": {name: name_of(known, name) for name in names if name},
        "key": {key.key_prefix: f"{key.name} · {key.key_prefix}…" for key in keys},
        "status": _STATUS_LABELS,
    }
    key_names = {key.key_id: key.name for key in keys}
    in_words = {"service": name_of(known, chosen), "key": key_names.get(visit.query.get("key", ""), "")}
    filters = [
        (name, name.capitalize(), (in_words | people).get(name) or visit.query[name])
        for name in ("service", "key", "merchant", "consumer")
        if visit.query.get(name)
    ]
    return by_group[choice.group], filters, {key.key_prefix: key.key_id for key in keys}


async def _own_keys(visit: Visit, choice: Choice) -> Sequence[keys_pb.Key]:
    is_needed = choice.group == "key" or visit.query.get("key")
    if visit.role != CONSUMER or not is_needed:
        return ()
    answer = await visit.api.keys.ListKeys(page_size=200)
    return answer.keys


def _context(visit: Visit, seen: Seen) -> dict[str, Any]:
    total, before, path = seen.report.total, seen.before, _PATHS[visit.role]
    names, columns = figures.columns_of(seen.report, seen.groups, seen.label)
    query = visit.request.url.query
    return {
        "seen": seen,
        "path": path,
        "query": f"?{query}" if query else "",
        "reaches": _REACHES.values(),
        "granularities": [_NAMES[granularity] for granularity in seen.choice.reach.buckets],
        "default_reach": _DEFAULT_REACH,
        "total": total,
        "requests_change": figures.change(total.requests, before.requests),
        "billable_change": figures.change(total.billable_requests, before.billable_requests),
        "time_change": figures.change(total.mean_response_time_ms, before.mean_response_time_ms),
        "points": figures.points_of(seen.report),
        "names": names,
        "tones": [seen.tone(group.name) for group in seen.groups] if seen.choice.group == "status" else [],
        "rows": chart_rows(visit, seen.report, columns),
        "summary": summary_of(visit, seen.report, seen.choice.reach.words),
    }


def chart_rows(visit: Visit, report: pb.UsageReport, columns: Sequence[Sequence[int]]) -> list[figures.Row]:
    """What the chart macro draws: a row for each bucket."""
    return [
        (int(start.timestamp()), _bucket_label(visit, report, start), list(values))
        for start, values in zip(figures.starts_of(report), zip(*columns, strict=True), strict=True)
    ]


def _bucket_label(visit: Visit, report: pb.UsageReport, start: datetime) -> Any:
    """Days are UTC's: in another zone their first moment may be of the day before."""
    if report.granularity == pb.DAY:
        return start.strftime("%-d %b %Y")
    return shown_time(start, visit.zone, "%-d %b, %H:%M")


def summary_of(visit: Visit, report: pb.UsageReport, words: str) -> str:
    """The chart, for who doesn't see it."""
    points = figures.points_of(report)
    if not any(points):
        return f"No requests in the last {words}."
    busiest = figures.starts_of(report)[points.index(max(points))]
    at = busiest.astimezone(visit.zone).strftime("%-d %B, %H:%M")
    if report.granularity == pb.DAY:
        at = busiest.strftime("%-d %B")
    return (
        f"{counted(sum(points), 'request')} in the last {words}. The most were {max(points):,} "
        f"in the {_NAMES[report.granularity]} of {at}."
    )


def _views_of(role: Role.ValueType) -> tuple[View, ...]:
    path = _PATHS[role]
    return (
        page(path, show_usage, role),
        live_view(path, load_usage, "usage/live.html", role),
        page(f"{path}/table.csv", download_table, role),
        page(f"{path}/chart.csv", download_chart, role),
    )


VIEWS = (*_views_of(CONSUMER), *_views_of(MERCHANT), *_views_of(ADMIN))
