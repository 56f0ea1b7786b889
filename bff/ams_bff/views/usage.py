"""Usage with one live chart, alike for consumers, merchants and admins."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.clock import to_timestamp, utc_now
from ams_common.errors import NotFoundError
from starlette.responses import Response

from ams_bff.http.routing import View, page
from ams_bff.http.visits import Visit
from ams_bff.live.snapshots import LiveSnapshot, etag_of, live_view
from ams_bff.ui.csv_files import csv_file
from ams_bff.usage.figures import (
    Group,
    change,
    columns_of,
    groups_of,
    points_of,
    span_ending,
    starts_of,
)
from ams_bff.usage.ranges import DEFAULT_PRESET, GROUPINGS, PRESETS, ReportQuery
from ams_bff.usage.reports import GRANULARITY_NAMES, ask_usage, chart_rows, summary_of
from ams_bff.views.consumer_lists import all_requests, approved_services
from ams_bff.views.naming import AnyService, know_services, name_of

_PATHS = {CONSUMER: "/dashboard/usage", MERCHANT: "/merchant/usage", ADMIN: "/admin/usage"}
# Fields of the request by the URL's parameters.
_FILTERS: Mapping[Role.ValueType, Mapping[str, str]] = {
    CONSUMER: {"service": "service_id", "key": "api_key_id"},
    MERCHANT: {"service": "service_id", "key": "key_prefix"},
    ADMIN: {"service": "service_id", "merchant": "merchant_id", "consumer": "consumer_id"},
}
_STATUS_LABELS = {
    "1xx": "1xx Informational",
    "2xx": "2xx Success",
    "3xx": "3xx Redirect",
    "4xx": "4xx Refused",
    "5xx": "5xx Failed",
}
_STATUS_TONES = {"1xx": "plain", "2xx": "good", "3xx": "info", "4xx": "warn", "5xx": "bad"}
_MOST_CHOICES = 200
# A consumer's services are asked for one by one.
_MOST_GRANTED = 50


@dataclass(frozen=True, slots=True)
class PageData:
    """Everything that the page shows and the files hold."""

    query: ReportQuery
    report: pb.UsageReport
    before: pb.UsageFigures
    errors: int
    groups: Sequence[Group]
    labels: Mapping[str, str]
    filters: Sequence[tuple[str, str, str]]  # the parameter's name, what it filters, in words
    key_ids: Mapping[str, str]  # by prefix, the consumer's own

    def label(self, group: str) -> str:
        return self.labels.get(group) or group or "Other"

    def tone(self, group: str) -> str:
        """The colour that a group has by its meaning, "" for none."""
        return _STATUS_TONES.get(group, "plain") if self.query.group == "status" else ""


async def show_usage(visit: Visit) -> Response:
    snapshot, services = await asyncio.gather(load_usage(visit), _service_choices(visit))
    return await visit.render("usage/show.html", services=services, etag=snapshot.etag, **snapshot.context)


async def load_usage(visit: Visit) -> LiveSnapshot:
    """The page but for what it can be narrowed to."""
    data = await _load(visit)
    total, before = data.report.total, data.before
    names, columns = columns_of(data.report, data.groups, data.label)
    context = {
        "data": data,
        "path": _PATHS[visit.role],
        "presets": PRESETS.values(),
        "granularities": [GRANULARITY_NAMES[granularity] for granularity in data.query.preset.buckets],
        "default_preset": DEFAULT_PRESET,
        "total": total,
        "requests_change": change(total.requests, before.requests),
        "billable_change": change(total.billable_requests, before.billable_requests),
        "time_change": change(total.mean_response_time_ms, before.mean_response_time_ms),
        "points": points_of(data.report),
        "names": names,
        "tones": [data.tone(group.name) for group in data.groups] if data.query.group == "status" else [],
        "rows": chart_rows(visit, data.report, columns),
        "summary": summary_of(visit, data.report, data.query.preset.words),
    }
    labels = repr(sorted(data.labels.items()))
    etag = etag_of(visit, data.report, before, data.errors, labels)
    return LiveSnapshot(context, etag, data.query.preset.poll_every)


async def download_table(visit: Visit) -> Response:
    data = await _load(visit)
    columns = (data.query.group, "requests", "billable", "request_bytes", "response_bytes", "mean_ms")
    rows = [
        (
            data.label(group.name),
            group.requests,
            group.billable_requests,
            group.request_bytes,
            group.response_bytes,
            round(group.response_time_ms, 1),
        )
        for group in data.groups
    ]
    return csv_file(f"usage-by-{data.query.group}", columns, rows)


async def download_chart(visit: Visit) -> Response:
    """The chart: a row for each bucket, in UTC, a column for each line."""
    data = await _load(visit)
    names, columns = columns_of(data.report, data.groups, data.label)
    buckets = zip(starts_of(data.report), zip(*columns, strict=True), strict=True)
    rows = [(start.isoformat(), *values) for start, values in buckets]
    return csv_file(f"usage-by-{data.query.granularity_name}", ("start", *names), rows)


async def _load(visit: Visit) -> PageData:
    query = ReportQuery.parse(visit.query)
    # What the URL narrows the report to, by its parameters.
    chosen = {name: visit.query[name] for name in _FILTERS[visit.role] if visit.query.get(name)}
    fields = {_FILTERS[visit.role][name]: text for name, text in chosen.items()}
    start, end = span_ending(utc_now(), query.granularity, query.preset.buckets[query.granularity])
    first, last = to_timestamp(start), to_timestamp(end)
    ask = partial(ask_usage, visit, granularity=query.granularity, **fields)
    groupings = dict.fromkeys((GROUPINGS[query.group], pb.STATUS_CLASS))
    keys, before, reports = await asyncio.gather(
        _own_keys(visit, query),
        ask(start=to_timestamp(start - (end - start)), end=first),
        asyncio.gather(*(ask(start=first, end=last, group_by=grouping) for grouping in groupings)),
    )
    report, by_status = reports[0], reports[-1]
    groups = groups_of(report)
    if query.group == "status":
        groups.sort(key=lambda group: group.name)
    errors = sum(group.requests for group in groups_of(by_status) if group.name in ("4xx", "5xx"))

    names = [group.name for group in groups]
    service_ids = [visit.query.get("service", ""), *(names if query.group == "service" else [])]
    known, people = await asyncio.gather(know_services(visit, service_ids), _people_in_words(visit))
    labels = {
        "service": {name: name_of(known, name) for name in names if name},
        "key": {key.key_prefix: f"{key.name} · {key.key_prefix}…" for key in keys},
        "status": _STATUS_LABELS,
    }[query.group]
    key_names = {key.key_id: key.name for key in keys}
    in_words = people | {
        "service": name_of(known, visit.query.get("service", "")),
        "key": key_names.get(visit.query.get("key", ""), ""),
    }
    filters = [
        (name, name.capitalize(), in_words.get(name) or visit.query[name])
        for name in ("service", "key", "merchant", "consumer")
        if visit.query.get(name)
    ]
    key_ids = {key.key_prefix: key.key_id for key in keys}
    return PageData(query, report, before.total, errors, groups, labels, filters, key_ids)


async def _own_keys(visit: Visit, query: ReportQuery) -> Sequence[keys_pb.Key]:
    is_needed = query.group == "key" or visit.query.get("key")
    if visit.role != CONSUMER or not is_needed:
        return ()
    return (await visit.api.keys.ListKeys(page_size=200)).keys


async def _service_choices(visit: Visit) -> list[tuple[str, str]]:
    """Ids and names of the reader's services, by name; of many the newest."""
    services: Iterable[AnyService]
    match visit.role:
        case Role.MERCHANT:
            services = (await visit.api.catalog.ListMerchantServices(page_size=_MOST_CHOICES)).services
        case Role.ADMIN:
            services = (await visit.api.catalog.ListServices(page_size=_MOST_CHOICES)).services
        case _:
            granted = approved_services(await all_requests(visit))
            services = (await know_services(visit, granted[:_MOST_GRANTED])).values()
    return sorted(((each.service_id, each.name) for each in services), key=lambda pair: pair[1].casefold())


async def _people_in_words(visit: Visit) -> dict[str, str]:
    """What to call the merchant and the consumer that an admin's URL names, by its parameters."""
    names: dict[str, str] = {}
    if visit.role != ADMIN:
        return names
    with suppress(NotFoundError):  # there is no usage of nobody either
        if merchant_id := visit.query.get("merchant"):
            names["merchant"] = (await visit.api.identity.GetMerchant(merchant_id=merchant_id)).company_name
        if consumer_id := visit.query.get("consumer"):
            names["consumer"] = (await visit.api.identity.GetConsumer(consumer_id=consumer_id)).email
    return names


def _views_of(role: Role.ValueType) -> tuple[View, ...]:
    path = _PATHS[role]
    return (
        page(path, show_usage, role),
        live_view(path, load_usage, "usage/live.html", role),
        page(f"{path}/table.csv", download_table, role),
        page(f"{path}/chart.csv", download_chart, role),
    )


VIEWS = (*_views_of(CONSUMER), *_views_of(MERCHANT), *_views_of(ADMIN))
