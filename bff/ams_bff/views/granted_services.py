"""The services that a consumer may call, or has asked for."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ams.catalog.v1.events_pb2 import DOCKER
from ams.keys.v1 import keys_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.clock import utc_now
from ams_common.errors import AppError, FailedPreconditionError, NotFoundError, PermissionDeniedError
from starlette.responses import Response

from ams_bff.http.downloads import list_download
from ams_bff.http.routing import action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.ui.csv_files import Cells, cells
from ams_bff.ui.forms import Form
from ams_bff.usage import figures, reports
from ams_bff.usage.spending import spend_this_month
from ams_bff.views.consumer_images import ask_images
from ams_bff.views.consumer_lists import active_keys, all_keys, all_requests, newest_by_service
from ams_bff.views.effects import effect_flash
from ams_bff.views.naming import know_services, name_of
from ams_bff.views.project_names import project_names

PATH = "/dashboard/services"
_PAGE_SIZE = 25
_STATUSES = {"approved": pb.APPROVED, "pending": pb.PENDING, "denied": pb.DENIED}
ENDED_BY = {
    pb.BY_CONSUMER: "You",
    pb.BY_MERCHANT: "The merchant",
    pb.BY_ADMIN: "An admin",
    pb.ACCESS_PARTY_UNSPECIFIED: "Somebody",
}
_COLUMNS = ("service", "status", "requested_at", "active_keys")


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of the newest requests, one for each service; as an answer to a List RPC would be."""

    requests: Sequence[pb.AccessRequest]
    next_page_token: str


async def list_services(visit: Visit) -> Response:
    """One row for each service, with the newest request for it."""
    listed = await _ask(visit, _PAGE_SIZE, visit.url.page_token)
    return await visit.render(
        "granted/list.html", rows=await _services(visit, listed), next_token=listed.next_page_token
    )


async def _ask(visit: Visit, size: int, page_token: str) -> Listed:
    wanted = _STATUSES.get(visit.query.get("status", ""))
    newest = newest_by_service(await all_requests(visit))
    return page_of([each for each in newest if wanted in (None, each.status)], size, page_token)


def page_of(requests: Sequence[pb.AccessRequest], size: int, page_token: str) -> Listed:
    """Those that follow the request that the token names, whether it is still among them or not: ids are in
    the order of asking (UUIDv7)."""
    ordered = sorted(requests, key=lambda each: each.access_request_id, reverse=True)
    after = [each for each in ordered if not page_token or each.access_request_id < page_token]
    shown = after[:size]
    return Listed(shown, shown[-1].access_request_id if len(after) > size else "")


async def _services(visit: Visit, listed: Listed) -> list[dict[str, Any]]:
    keys, known = await asyncio.gather(
        all_keys(visit), know_services(visit, (each.service_id for each in listed.requests))
    )
    active = active_keys(keys)
    return [
        {
            "request": each,
            "service": known.get(each.service_id),
            "name": name_of(known, each.service_id),
            "key_count": sum(each.service_id in key.service_ids for key in active),
        }
        for each in listed.requests
    ]


async def _rows(visit: Visit, listed: Listed) -> list[Cells]:
    rows = await _services(visit, listed)
    return [[row["name"], *cells(row["request"], "status", "requested_at"), row["key_count"]] for row in rows]


async def show_service(visit: Visit, form: Form | None = None) -> Response:
    """How to call it, with which keys, and what was called. `form`: giving access back, which was refused.
    Raises NotFoundError for a service that the consumer never asked for."""
    service_id = visit.parameter("service_id")
    requests, keys = await asyncio.gather(all_requests(visit), all_keys(visit))
    asked = [each for each in requests if each.service_id == service_id]
    if not asked:
        raise NotFoundError("service_not_found", "There is no such service among yours.")
    known, report, spent, projects = await asyncio.gather(
        know_services(visit, [service_id]),
        reports.ask_shown(visit, service_id=service_id),
        spend_this_month(visit, utc_now(), service_id=service_id),
        visit.or_none_if_down(project_names(visit)),
    )
    service = known.get(service_id)
    is_image = service is not None and service.type == DOCKER
    return await visit.render(
        "granted/show.html",
        form=form or Form(),
        ended_by=ENDED_BY,
        service=service,
        images=await ask_images(visit, service_id) if is_image else None,
        service_id=service_id,
        name=name_of(known, service_id),
        asked=asked,
        projects=projects or {},
        keys=[key for key in active_keys(keys) if service_id in key.service_ids],
        trend=figures.trend(report),
        spent=spent,
    )


async def withdraw_request(visit: Visit) -> Response:
    """Takes a request back that nobody has decided."""
    path = f"{PATH}/{visit.parameter('service_id')}"
    try:
        await visit.api.grants.WithdrawAccessRequest(access_request_id=visit.form["access_request_id"])
    except FailedPreconditionError as error:
        return await visit.redirect(path, Flash(error.message, "plain"))
    return await visit.redirect(path, "Your request is withdrawn.")


async def end_access(visit: Visit) -> Response:
    """Gives access to the service back."""
    form = visit.form
    try:
        ended = await visit.api.grants.EndConsumerGrant(grant_id=form["grant_id"], reason=form["reason"])
    except AppError as error:
        return await show_service(visit, form.refused(error, PermissionDeniedError))
    path = f"{PATH}/{visit.parameter('service_id')}"
    text = "The access has ended. Keys can’t call the service any more."
    return await visit.redirect(path, effect_flash(text, ended, visit.zone))


VIEWS = (
    page(PATH, list_services, CONSUMER),
    list_download(PATH, "services", _COLUMNS, _ask, _rows, CONSUMER),
    page(f"{PATH}/{{service_id}}", show_service, CONSUMER),
    action(f"{PATH}/{{service_id}}/withdraw", withdraw_request, CONSUMER),
    action(f"{PATH}/{{service_id}}/end-access", end_access, CONSUMER),
)
