"""The services that a consumer may call, or has asked for."""

import asyncio
from typing import Any

from ams.catalog.v1.events_pb2 import DOCKER
from ams.keys.v1 import keys_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.errors import NotFoundError
from starlette.responses import Response

from ams_bff.views import figures
from ams_bff.views.consumer_images import ask_images
from ams_bff.views.consumer_lists import active_keys, all_keys, all_requests, newest_by_service
from ams_bff.views.naming import know_services, name_of
from ams_bff.web.csv_files import csv_file
from ams_bff.web.formats import enum_label
from ams_bff.web.routing import page
from ams_bff.web.visits import Visit

_STATUSES = {"approved": pb.APPROVED, "pending": pb.PENDING, "denied": pb.DENIED}


async def list_services(visit: Visit) -> Response:
    """One row for each service, with the newest request for it."""
    return await visit.render("granted/list.html", rows=await _rows(visit))


async def download_services(visit: Visit) -> Response:
    """The same as a table file."""
    rows = [
        (
            row["name"],
            enum_label(row["request"].status, pb.AccessRequestStatus),
            row["request"].requested_at.ToJsonString(),
            row["key_count"],
        )
        for row in await _rows(visit)
    ]
    return csv_file("services", ("service", "status", "requested_at", "active_keys"), rows)


async def _rows(visit: Visit) -> list[dict[str, Any]]:
    requests, keys = await asyncio.gather(all_requests(visit), all_keys(visit))
    wanted = _STATUSES.get(visit.query.get("status", ""))
    shown = [each for each in newest_by_service(requests) if wanted in (None, each.status)]
    known = await know_services(visit, (each.service_id for each in shown))
    active = active_keys(keys)
    return [
        {
            "request": each,
            "service": known.get(each.service_id),
            "name": name_of(known, each.service_id),
            "key_count": sum(each.service_id in key.service_ids for key in active),
        }
        for each in shown
    ]


async def show_service(visit: Visit) -> Response:
    """How to call it, with which keys, and what was called. Raises NotFoundError for a service that the
    consumer never asked for."""
    service_id = visit.parameter("service_id")
    requests, keys = await asyncio.gather(all_requests(visit), all_keys(visit))
    asked = [each for each in requests if each.service_id == service_id]
    if not asked:
        raise NotFoundError("service_not_found", "There is no such service among yours.")
    known, report = await asyncio.gather(
        know_services(visit, [service_id]),
        figures.ask_shown(visit, service_id=service_id),
    )
    service = known.get(service_id)
    is_image = service is not None and service.type == DOCKER
    return await visit.render(
        "granted/show.html",
        service=service,
        images=await ask_images(visit, service_id) if is_image else None,
        service_id=service_id,
        name=name_of(known, service_id),
        asked=asked,
        keys=[key for key in active_keys(keys) if service_id in key.service_ids],
        trend=figures.trend(report),
    )


VIEWS = (
    page("/dashboard/services", list_services, CONSUMER),
    page("/dashboard/services/table.csv", download_services, CONSUMER),
    page("/dashboard/services/{service_id}", show_service, CONSUMER),
)
