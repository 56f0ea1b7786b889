"""The log of single calls of a day, alike for consumers, merchants and admins (PRD-8)."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import events_pb2 as events
from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.clock import utc_now
from ams_common.errors import NotFoundError
from starlette.responses import Response

from ams_bff.http.downloads import list_download
from ams_bff.http.routing import View, page
from ams_bff.http.visits import Visit
from ams_bff.ui.csv_files import Cells, cells
from ams_bff.usage.ranges import FILTERS_OF, day_of
from ams_bff.views.usage import PATHS
from ams_bff.views.usage_names import choices_of, filters_in_words, labels_of

_PAGE_SIZE = 50
_MOST_ID_CHARACTERS = 128
_SLOW_MS = {"100": "100 ms", "500": "500 ms", "1000": "1 s", "5000": "5 s", "30000": "30 s"}
OUTCOMES = {
    events.ANSWERED: "Answered",
    events.CLIENT_CLOSED: "Given up by the caller",
    events.UPSTREAM_FAILED: "No answer from the service",
    events.BROKEN_OFF: "Broke off",
    events.REFUSED: "Ended by AMS",
}
CHARGES = {
    events.SERVED: "Charged",
    events.CLIENT_ERROR: "4xx: as the price says",
    events.ABANDONED: "Abandoned: as the price says",
    events.UNCHARGED: "Never charged",
}
_COLUMNS = (
    "occurred_at",
    "service",
    "service_id",
    "consumer",
    "key",
    "project_id",
    "status_code",
    "outcome",
    "charge",
    "test",
    "continuation",
    "response_time_ms",
    "request_bytes",
    "response_bytes",
    "request_messages",
    "response_messages",
    "request_id",
)


async def show_calls(visit: Visit) -> Response:
    """The newest first, as many as fit, and where they go on."""
    day = _day(visit)
    filters = _filters(visit)
    listed, choices, narrowed = await asyncio.gather(
        _ask(visit, _PAGE_SIZE, visit.url.page_token),
        choices_of(visit, filters),
        filters_in_words(visit, filters),
    )
    slow = [("", "However long"), *((value, f"{words} or more") for value, words in _SLOW_MS.items())]
    today = utc_now().astimezone(visit.zone).date()
    return await visit.render(
        "calls/list.html",
        day=day,
        day_before=day - timedelta(days=1),
        day_after=day + timedelta(days=1) if day < today else None,
        today=today,
        path=f"{PATHS[visit.role]}/{day}",
        usage_path=PATHS[visit.role],
        calls=listed.calls,
        next_token=listed.next_page_token,
        labels=await _labels(visit, listed.calls),
        choices={**choices, "slow": slow},
        filters=[each for each in narrowed if each[0] not in choices],
        looked_up=_request_id(visit),
        events=events,
        outcomes=OUTCOMES,
        charges=CHARGES,
    )


def _day(visit: Visit) -> date:
    day = day_of(visit.parameter("date"))
    if day is None:
        raise NotFoundError("no_such_day", "There is no such day.")
    return day


def _filters(visit: Visit) -> Mapping[str, str]:
    return {name: visit.query[name] for name in FILTERS_OF[visit.role] if visit.query.get(name)}


def _request_id(visit: Visit) -> str:
    return visit.query.get("request", "").strip()[:_MOST_ID_CHARACTERS]


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListCallsResponse:
    """What the URL wants; by X-Request-Id of any day."""
    fields: dict[str, Any] = {FILTERS_OF[visit.role][name]: text for name, text in _filters(visit).items()}
    if request_id := _request_id(visit):
        fields["request_id"] = request_id
    else:
        fields |= {"day": _day(visit).isoformat(), "time_zone": visit.zone.key}
    if (slow := visit.query.get("slow", "")) in _SLOW_MS:
        fields["min_response_time_ms"] = int(slow)
    fields |= {"page_size": size, "page_token": page_token}
    usage = visit.api.usage
    match visit.role:
        case Role.MERCHANT:
            return await usage.ListMerchantCalls(**fields)
        case Role.ADMIN:
            return await usage.ListPlatformCalls(**fields)
        case _:
            return await usage.ListConsumerCalls(**fields)


async def _labels(visit: Visit, calls: Sequence[pb.Call]) -> Mapping[str, Mapping[str, str]]:
    """What to call services, an admin's consumers and a consumer's keys: by kind, then id."""
    services, consumers, keys = await asyncio.gather(
        labels_of(visit, "service", (call.service_id for call in calls)),
        labels_of(visit, "consumer", (call.consumer for call in calls)),
        labels_of(visit, "key", (call.api_key_id for call in calls if visit.role == CONSUMER)),
    )
    return {"service": services, "consumer": consumers, "key": keys}


async def _rows(visit: Visit, listed: pb.ListCallsResponse) -> list[Cells]:
    labels = await _labels(visit, listed.calls)
    return [
        [
            *cells(call, "occurred_at"),
            labels["service"][call.service_id],
            *cells(call, "service_id", "consumer", "key", "project_id", "status_code"),
            OUTCOMES.get(call.outcome, ""),
            CHARGES.get(call.charge_class, ""),
            "yes" if call.is_test else "no",
            "yes" if call.is_continuation else "no",
            *cells(call, "response_time_ms", "request_bytes", "response_bytes"),
            *cells(call, "request_messages", "response_messages", "request_id"),
        ]
        for call in listed.calls
    ]


def _views_of(role: Role.ValueType) -> tuple[View, ...]:
    path = f"{PATHS[role]}/{{date}}"
    return (page(path, show_calls, role), list_download(path, "calls", _COLUMNS, _ask, _rows, role))


VIEWS = (*_views_of(CONSUMER), *_views_of(MERCHANT), *_views_of(ADMIN))
