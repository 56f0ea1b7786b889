"""The consumer's overview."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ams.billing.v1.billing_service_pb2 import SPEND_BY_SERVICE
from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.policy.v1.policy_pb2 import CONSUMER
from ams.usage.v1 import usage_service_pb2 as usage_pb
from ams_common.clock import from_timestamp, utc_now
from google.protobuf.timestamp_pb2 import Timestamp
from starlette.responses import Response

from ams_bff.http.routing import page
from ams_bff.http.visits import Visit
from ams_bff.live.snapshots import LiveSnapshot, etag_of, live_view
from ams_bff.usage import figures, reports
from ams_bff.usage.spending import spend_this_month
from ams_bff.views.activity import Event, newest
from ams_bff.views.consumer_lists import (
    active_keys,
    all_keys,
    all_requests,
    approved_services,
    has_access,
    newest_by_service,
)
from ams_bff.views.naming import Known, Names, know_services, name_of, service_names
from ams_bff.views.usage_names import labels_of

_EXPIRES_SOON = timedelta(days=14)
_DENIED_LATELY = timedelta(days=30)
# Services whose spend the overview shows.
_DEAREST = 5


@dataclass(frozen=True, slots=True)
class Decision:
    """Something that waits for the reader to decide, with where to do so."""

    title: str
    text: str
    at: Timestamp
    kind: str
    label: str
    href: str


async def show_overview(visit: Visit) -> Response:
    """Figures, a chart, what needs a decision, what happened; three steps for who is new."""
    keys, requests, snapshot = await asyncio.gather(all_keys(visit), all_requests(visit), load_figures(visit))
    if not keys:
        is_approved = bool(approved_services(requests))
        return await visit.render("dashboard/first_run.html", requests=requests, is_approved=is_approved)
    ids = {each.service_id for each in requests} | {each for key in keys for each in key.service_ids}
    names, now = await service_names(visit, ids), utc_now()
    to_decide = [*_denied_lately(requests, now), *_without_key(keys, requests)]
    # Only of what stands in the marketplace there is something to decide.
    offered = await visit.or_none_if_down(know_services(visit, (each.service_id for each in to_decide)))
    return await visit.render(
        "dashboard/show.html",
        **_counts(keys, requests, now),
        decisions=_decisions(keys, requests, names, offered or {}, now),
        events=_events(keys, requests, names, now),
        etag=snapshot.etag,
        **snapshot.context,
    )


async def load_figures(visit: Visit) -> LiveSnapshot:
    now = utc_now()
    last_day = figures.span_fields(now, usage_pb.HOUR, 24)
    month, spent, hours = await asyncio.gather(
        reports.ask_shown(visit, now),
        spend_this_month(visit, now, SPEND_BY_SERVICE),
        visit.or_none_if_down(reports.ask_usage(visit, **last_day)),
    )
    groups = spent.now.groups[:_DEAREST] if spent is not None else ()
    names = await labels_of(visit, "service", (each.group for each in groups))
    context = {
        "trend": figures.trend(month, now=now),
        "spent": spent,
        "dearest": [(each.group, names[each.group], each.amount) for each in groups],
        "rows": reports.chart_rows(visit, hours, [figures.points_of(hours)]) if hours else None,
        "summary": reports.summary_of(visit, hours, "the last 24 hours") if hours else "",
    }
    told = [spent.now, spent.before] if spent is not None else []
    return LiveSnapshot(context, etag_of(visit, month, hours, *told, repr(sorted(names.items()))))


def _counts(
    keys: Sequence[keys_pb.Key], requests: Sequence[keys_pb.AccessRequest], now: datetime
) -> dict[str, Any]:
    newest = newest_by_service(requests)
    return {
        "active_gauge": figures.gauge(map(_lifetime_of, keys), now),
        "service_gauge": figures.gauge(_granted_since(requests), now),
        "active": len(active_keys(keys)),
        "keys": len(keys),
        "services": len(approved_services(requests)),
        "pending": sum(each.status == keys_pb.PENDING for each in newest),
    }


def _lifetime_of(key: keys_pb.Key) -> figures.Lifetime:
    ends = [from_timestamp(at) for at in (key.expires_at, key.revoked_at) if at.seconds]
    return from_timestamp(key.created_at), min(ends)


def _granted_since(requests: Iterable[keys_pb.AccessRequest]) -> Iterator[figures.Lifetime]:
    """From the approval until it ends, each time that access was given."""
    return (
        (
            from_timestamp(each.resolved_at),
            from_timestamp(each.ended_at) if each.HasField("ended_at") else None,
        )
        for each in requests
        if each.status == keys_pb.APPROVED
    )


def _decisions(
    keys: Sequence[keys_pb.Key],
    requests: Sequence[keys_pb.AccessRequest],
    names: Names | None,
    offered: Known,
    now: datetime,
) -> list[Decision]:
    expiring = [key for key in active_keys(keys) if from_timestamp(key.expires_at) - now < _EXPIRES_SOON]
    return [
        *(_expiring(key) for key in sorted(expiring, key=lambda key: key.expires_at.seconds)),
        *(_denied(each, names, offered) for each in _denied_lately(requests, now)),
        *(_unused(each, names) for each in _without_key(keys, requests) if each.service_id in offered),
    ]


def _denied_lately(
    requests: Sequence[keys_pb.AccessRequest], now: datetime
) -> Sequence[keys_pb.AccessRequest]:
    denied = (each for each in newest_by_service(requests) if each.status == keys_pb.DENIED)
    return [each for each in denied if now - from_timestamp(each.resolved_at) < _DENIED_LATELY]


def _without_key(
    keys: Sequence[keys_pb.Key], requests: Sequence[keys_pb.AccessRequest]
) -> Sequence[keys_pb.AccessRequest]:
    in_keys = {service_id for key in active_keys(keys) for service_id in key.service_ids}
    approved = (each for each in newest_by_service(requests) if has_access(each))
    return [each for each in approved if each.service_id not in in_keys]


def _expiring(key: keys_pb.Key) -> Decision:
    path = f"/dashboard/api-keys/{key.key_id}"
    text = "Make another before calls with it are refused. It expires"
    return Decision(f"Key “{key.name}” expires soon", text, key.expires_at, "warn", "Look at it", path)


def _denied(request: keys_pb.AccessRequest, names: Names | None, offered: Known) -> Decision:
    service = offered.get(request.service_id)
    path = f"/marketplace/{service.slug}#access" if service is not None else "/dashboard/services"
    text = f"Reason: {request.reason}" if request.reason else "No reason was given."
    title = f"Access to {name_of(names, request.service_id)} was denied"
    return Decision(title, text, request.resolved_at, "bad", "Ask again", path)


def _unused(request: keys_pb.AccessRequest, names: Names | None) -> Decision:
    path = f"/dashboard/api-keys/new?service={request.service_id}"
    title = f"No key can call {name_of(names, request.service_id)} yet"
    text = "You may call it, as soon as a key is made for it. Approved"
    return Decision(title, text, request.resolved_at, "info", "Create a key", path)


def _events(
    keys: Iterable[keys_pb.Key],
    requests: Iterable[keys_pb.AccessRequest],
    names: Names | None,
    now: datetime,
) -> list[Event]:
    events = [event for key in keys for event in _key_events(key, now)]
    for request in requests:
        name = name_of(names, request.service_id)
        events.append(Event("Access requested", name, request.requested_at, "plain"))
        if request.status == keys_pb.APPROVED:
            events.append(Event("Access approved", name, request.resolved_at, "good"))
        elif request.status == keys_pb.DENIED:
            events.append(Event("Access denied", name, request.resolved_at, "bad"))
    return newest(events)


def _key_events(key: keys_pb.Key, now: datetime) -> list[Event]:
    events = [Event("Key created", key.name, key.created_at, "info")]
    if key.revoked_at.seconds:
        events.append(Event("Key revoked", key.name, key.revoked_at, "bad"))
    elif from_timestamp(key.expires_at) <= now:
        events.append(Event("Key expired", key.name, key.expires_at, "warn"))
    return events


VIEWS = (
    page("/dashboard", show_overview, CONSUMER),
    live_view("/dashboard", load_figures, "dashboard/live.html", CONSUMER),
)
