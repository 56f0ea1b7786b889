"""Consumers: listed, blocked and unblocked (PRD FR4-ADMIN-02)."""

import asyncio

from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_BLOCKED, STANDING_UNSPECIFIED, Standing
from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.policy.v1.policy_pb2 import ADMIN
from ams.usage.v1 import usage_service_pb2 as usage_pb
from ams_common.errors import AppError
from starlette.responses import Response

from ams_bff.http.downloads import list_download
from ams_bff.http.routing import action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.ui.csv_files import Cells, instant
from ams_bff.ui.formats import enum_label
from ams_bff.ui.forms import Form
from ams_bff.usage import figures, reports
from ams_bff.views.admin_queue import services_by_id
from ams_bff.views.admin_records import actor_names, audit_of, standing_refused

PATH = "/admin/consumers"
_PAGE_SIZE = 25
_SHOWN_REQUESTS = 20
_SORTS = ("name", "email", "standing", "registered_at")
_COLUMNS = ("email", "name", "standing", "registered_at", "consumer_id")
_ACCESS_COLUMNS = (
    "service",
    "merchant",
    "status",
    "requested_at",
    "resolved_at",
    "note",
    "reason",
    "access_request_id",
)
_STANDINGS = {"active": STANDING_ACTIVE, "blocked": STANDING_BLOCKED}


async def list_consumers(visit: Visit) -> Response:
    """As the URL says, else the newest first."""
    listed = await _ask(visit, _PAGE_SIZE, visit.url.page_token)
    return await visit.render(
        "admin/consumers.html", consumers=listed.consumers, next_token=listed.next_page_token
    )


async def show_consumer(visit: Visit) -> Response:
    """Profile, access, usage, and what was done."""
    return await _consumer_page(visit, Form())


async def _consumer_page(visit: Visit, form: Form) -> Response:
    consumer_id = visit.parameter("consumer_id")
    consumer = await visit.api.identity.GetConsumer(consumer_id=consumer_id)
    asked, report, records, names = await asyncio.gather(
        _ask_access(visit, _SHOWN_REQUESTS, ""),
        reports.ask_shown(visit, consumer_id=consumer_id, group_by=usage_pb.SERVICE),
        audit_of(visit, consumer_id),
        actor_names(visit),
    )
    return await visit.render(
        "admin/consumer.html",
        form=form,
        consumer=consumer,
        requests_for_access=asked.access_requests,
        has_more=bool(asked.next_page_token),
        services=await services_by_id(visit, {one.service_id for one in asked.access_requests}),
        used=figures.by_group(report),
        requests=figures.trend(report),
        billable=figures.billable_trend(report),
        records=records,
        names=names,
    )


async def block_consumer(visit: Visit) -> Response:
    """Can be undone from the toast."""
    consumer_id = visit.parameter("consumer_id")
    path = f"{PATH}/{consumer_id}"
    try:
        consumer = await visit.api.identity.BlockConsumer(
            consumer_id=consumer_id, reason=visit.form["reason"]
        )
    except AppError as error:
        return await standing_refused(visit, path, error, _consumer_page)
    message = f"{consumer.email} is blocked. Calls with its keys stop within a second."
    return await visit.redirect(path, Flash(message, action="Undo", action_url=f"{path}/unblock"))


async def unblock_consumer(visit: Visit) -> Response:
    """Its keys work again."""
    consumer_id = visit.parameter("consumer_id")
    path = f"{PATH}/{consumer_id}"
    try:
        consumer = await visit.api.identity.UnblockConsumer(
            consumer_id=consumer_id, reason=visit.form["reason"]
        )
    except AppError as error:
        return await standing_refused(visit, path, error, _consumer_page)
    return await visit.redirect(path, f"{consumer.email} is unblocked.")


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListConsumersResponse:
    return await visit.api.identity.ListConsumers(
        page_size=size,
        page_token=page_token,
        standing=_STANDINGS.get(visit.query.get("standing", ""), STANDING_UNSPECIFIED),
        query=visit.url.words,
        order_by=visit.url.order_by(_SORTS),
    )


async def _rows(visit: Visit, listed: pb.ListConsumersResponse) -> list[Cells]:
    return [
        (
            consumer.email,
            consumer.name,
            enum_label(consumer.standing, Standing),
            instant(consumer.registered_at),
            consumer.consumer_id,
        )
        for consumer in listed.consumers
    ]


async def _ask_access(visit: Visit, size: int, page_token: str) -> keys_pb.ListAccessRequestsResponse:
    return await visit.api.keys.ListAccessRequests(
        page_size=size, page_token=page_token, consumer_id=visit.parameter("consumer_id")
    )


async def _access_rows(visit: Visit, listed: keys_pb.ListAccessRequestsResponse) -> list[Cells]:
    services = await services_by_id(visit, (asked.service_id for asked in listed.access_requests))
    return [
        (
            services[asked.service_id].name,
            services[asked.service_id].merchant_name,
            enum_label(asked.status, keys_pb.AccessRequestStatus),
            instant(asked.requested_at),
            instant(asked.resolved_at),
            asked.note,
            asked.reason,
            asked.access_request_id,
        )
        for asked in listed.access_requests
    ]


VIEWS = (
    page(PATH, list_consumers, ADMIN),
    list_download(PATH, "consumers", _COLUMNS, _ask, _rows, ADMIN),
    page(f"{PATH}/{{consumer_id}}", show_consumer, ADMIN),
    list_download(
        f"{PATH}/{{consumer_id}}", "access-requests", _ACCESS_COLUMNS, _ask_access, _access_rows, ADMIN
    ),
    action(f"{PATH}/{{consumer_id}}/block", block_consumer, ADMIN),
    action(f"{PATH}/{{consumer_id}}/unblock", unblock_consumer, ADMIN),
)
