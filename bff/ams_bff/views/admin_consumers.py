"""Consumers: listed, blocked and unblocked (PRD FR4-ADMIN-02)."""

import asyncio

from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_BLOCKED, STANDING_UNSPECIFIED, Standing
from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.policy.v1.policy_pb2 import ADMIN
from ams.usage.v1 import usage_service_pb2 as usage_pb
from ams_common.errors import AppError
from starlette.responses import Response

from ams_bff.views import figures
from ams_bff.views.admin_queue import services_by_id
from ams_bff.views.admin_records import actor_names, audit_of, standing_refused
from ams_bff.web import lists
from ams_bff.web.csv_files import PAGE_ROWS, Cells, csv_list
from ams_bff.web.formats import enum_label
from ams_bff.web.forms import Form
from ams_bff.web.routing import action, page
from ams_bff.web.sessions import Flash
from ams_bff.web.visits import Visit

PATH = "/admin/consumers"
_PAGE_SIZE = 25
_SHOWN_REQUESTS = 20
_SORTS = ("name", "email", "standing", "registered_at")
_COLUMNS = ("email", "name", "standing", "registered_at", "consumer_id")
_STANDINGS = {"active": STANDING_ACTIVE, "blocked": STANDING_BLOCKED}


async def list_consumers(visit: Visit) -> Response:
    """As the URL says, else the newest first."""
    listed = await _ask(visit, _PAGE_SIZE, lists.page_token(visit))
    return await visit.render(
        "admin/consumers.html", consumers=listed.consumers, next_token=listed.next_page_token
    )


async def download_consumers(visit: Visit) -> Response:
    """The whole list."""

    async def rows(page_token: str) -> tuple[list[Cells], str]:
        listed = await _ask(visit, PAGE_ROWS, page_token)
        return [_row(consumer) for consumer in listed.consumers], listed.next_page_token

    return await csv_list("consumers", _COLUMNS, rows)


async def show_consumer(visit: Visit) -> Response:
    """Profile, access, usage, and what was done."""
    return await _consumer_page(visit, Form())


async def _consumer_page(visit: Visit, form: Form) -> Response:
    consumer_id = visit.parameter("consumer_id")
    identity, keys = visit.services.identity, visit.services.keys
    consumer = await visit.ask(identity.GetConsumer, pb.GetConsumerRequest(consumer_id=consumer_id))
    asked, report, records, names = await asyncio.gather(
        visit.ask(
            keys.ListAccessRequests,
            keys_pb.ListAccessRequestsRequest(page_size=_SHOWN_REQUESTS, consumer_id=consumer_id),
        ),
        figures.ask_shown(visit, consumer_id=consumer_id, group_by=usage_pb.SERVICE),
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
        billable=figures.trend(report, figures.billable_of),
        records=records,
        names=names,
    )


async def block_consumer(visit: Visit) -> Response:
    """Can be undone from the toast."""
    consumer_id = visit.parameter("consumer_id")
    request = pb.BlockConsumerRequest(consumer_id=consumer_id, reason=visit.form["reason"])
    path = f"{PATH}/{consumer_id}"
    try:
        consumer = await visit.ask(visit.services.identity.BlockConsumer, request)
    except AppError as error:
        return await standing_refused(visit, path, error, _consumer_page)
    told = f"{consumer.email} is blocked. Calls with its keys stop within a second."
    return await visit.redirect(path, Flash(told, action="Undo", action_url=f"{path}/unblock"))


async def unblock_consumer(visit: Visit) -> Response:
    """Its keys work again."""
    consumer_id = visit.parameter("consumer_id")
    request = pb.UnblockConsumerRequest(consumer_id=consumer_id, reason=visit.form["reason"])
    path = f"{PATH}/{consumer_id}"
    try:
        consumer = await visit.ask(visit.services.identity.UnblockConsumer, request)
    except AppError as error:
        return await standing_refused(visit, path, error, _consumer_page)
    return await visit.redirect(path, f"{consumer.email} is unblocked.")


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListConsumersResponse:
    request = pb.ListConsumersRequest(
        page_size=size,
        page_token=page_token,
        standing=_STANDINGS.get(visit.query.get("standing", ""), STANDING_UNSPECIFIED),
        query=lists.words(visit),
        order_by=lists.order_by(visit, _SORTS),
    )
    return await visit.ask(visit.services.identity.ListConsumers, request)


def _row(consumer: pb.Consumer) -> Cells:
    standing = enum_label(consumer.standing, Standing)
    registered_at = consumer.registered_at.ToJsonString()
    return consumer.email, consumer.name, standing, registered_at, consumer.consumer_id


VIEWS = (
    page(PATH, list_consumers, ADMIN),
    page(f"{PATH}/table.csv", download_consumers, ADMIN),
    page(f"{PATH}/{{consumer_id}}", show_consumer, ADMIN),
    action(f"{PATH}/{{consumer_id}}/block", block_consumer, ADMIN),
    action(f"{PATH}/{{consumer_id}}/unblock", unblock_consumer, ADMIN),
)
