"""An admin's first page, and the decisions taken on it."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1.events_pb2 import ACTIVE, PENDING_APPROVAL
from ams.identity.v1 import identity_service_pb2 as identity_pb
from ams.identity.v1.events_pb2 import STANDING_SUSPENDED
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.clock import from_timestamp, utc_now
from ams_common.errors import AppError, InvalidArgumentError
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.live.snapshots import LiveSnapshot, etag_of, live_view
from ams_bff.ui.forms import Form
from ams_bff.usage import figures, reports
from ams_bff.views.admin_queue import (
    Pending,
    load_queue,
    load_waiting,
    services_with_facts,
    with_facts,
)
from ams_bff.views.admin_records import latest_news, people_names, subjects_of
from ams_bff.views.admin_services import show_service

_MOST = 200


async def show_overview(visit: Visit, refused_id: str = "", form: Form | None = None) -> Response:
    queue, snapshot, news, merchants, consumers, active = await asyncio.gather(
        load_queue(visit),
        load_figures(visit),
        latest_news(visit),
        visit.api.identity.ListMerchants(page_size=_MOST),
        visit.api.identity.ListConsumers(page_size=_MOST),
        visit.api.catalog.ListServices(page_size=_MOST, status=ACTIVE),
    )
    names = await people_names(visit, news)
    items = [
        replace(item, form=form) if form and item.item_id == refused_id else item for item in queue.items
    ]
    return await visit.render(
        "admin/overview.html",
        form.status if form else None,
        items=items,
        waiting=queue.waiting,
        merchant_gauge=None if merchants.next_page_token else _gauge_of(merchants.merchants),
        consumer_gauge=None if consumers.next_page_token else _gauge_of(consumers.consumers),
        merchant_count=_at_least(len(merchants.merchants), merchants.next_page_token),
        consumer_count=_at_least(len(consumers.consumers), consumers.next_page_token),
        active_count=_at_least(sum(map(_is_listed, active.services)), active.next_page_token),
        steps=first_steps(
            has_merchants=bool(merchants.merchants),
            is_open=bool(active.services or snapshot.context["requests"].total),
            has_consumers=bool(consumers.consumers),
        ),
        news=news,
        names=names,
        subjects=await subjects_of(visit, news, names),
        etag=snapshot.etag,
        **snapshot.context,
    )


async def decide_service(visit: Visit) -> Response:
    """Approves or rejects, from the queue or from the service's page, as far as it is as it was looked at."""
    form, service_id = visit.form, visit.parameter("service_id")
    reason = form["reason"]
    wanted = {"service_id": service_id, "reason": reason, "etag": form["etag"]}
    try:
        if _is_approval(form):
            service = await visit.api.catalog.ApproveService(**wanted)
            message = f"{service.name} is approved and in the marketplace."
        else:
            if not reason:
                form.refuse("reason", "is required: the merchant reads it")
            form.check()
            service = await visit.api.catalog.RejectService(**wanted)
            message = f"{service.name} is rejected. Its merchant reads why."
    except AppError as error:
        return await _refused_service(visit, service_id, form.refused(error))
    return await _decided(visit, service_id, message)


async def decide_revision(visit: Visit) -> Response:
    """Approves or rejects a change of a service, as far as it is the one that was looked at."""
    form, revision_id = visit.form, visit.parameter("revision_id")
    service_id, reason = visit.parameter("service_id"), form["reason"]
    wanted = {"service_id": service_id, "revision_id": revision_id}
    try:
        version = form.whole("version", 1, 10**12)
        if _is_approval(form):
            form.check()
            decided = await visit.api.revisions.ApproveRevision(**wanted, version=version, reason=reason)
            message = f"{decided.service_name} is as its merchant wants it now."
        else:
            if not reason:
                form.refuse("reason", "is required: the merchant reads it")
            form.check()
            decided = await visit.api.revisions.RejectRevision(**wanted, version=version, reason=reason)
            message = f"{decided.service_name} stays as it is. Its merchant reads why."
    except AppError as error:
        form.refused(error)
        if form["from"] == "service":
            return await show_service(visit, form)
        waiting = (await load_waiting(visit)).revisions
        items = [Pending(None, each.created_at, revision=each) for each in waiting]
        # With the version that it has now: whoever decides again has seen it.
        form.values.pop("version", None)
        return await _again(visit, revision_id, [item for item in items if item.item_id == revision_id], form)
    return await _decided(visit, revision_id, message, service_id)


async def decide_access(visit: Visit) -> Response:
    form, request_id = visit.form, visit.parameter("access_request_id")
    fields = {"access_request_id": request_id, "reason": form["reason"]}
    try:
        if _is_approval(form):
            await visit.api.keys.ApproveAccess(**fields)
            message = "Access approved. The consumer may use it now."
        else:
            await visit.api.keys.DenyAccess(**fields)
            message = "Access denied."
    except AppError as error:
        form.refused(error)
        waiting = (await load_waiting(visit)).requests
        items = await with_facts(visit, [one for one in waiting if one.access_request_id == request_id])
        return await _again(visit, request_id, items, form)
    return await _decided(visit, request_id, message)


def _is_approval(form: Form) -> bool:
    """Raises InvalidArgumentError for what neither button sends: nothing is decided by mistake."""
    if form["decision"] not in ("approve", "refuse"):
        raise InvalidArgumentError("decision_unknown", "Nothing was decided: press one of the two buttons.")
    return form["decision"] == "approve"


async def _refused_service(visit: Visit, service_id: str, form: Form) -> Response:
    if form["from"] == "service":
        return await show_service(visit, form)
    service = await visit.api.catalog.GetService(service_id=service_id)
    is_waiting = service.status == PENDING_APPROVAL
    items = await services_with_facts(visit, [service]) if is_waiting else []
    return await _again(visit, service_id, items, form)


async def _again(visit: Visit, item_id: str, items: list[Pending], form: Form) -> Response:
    """The decision once more, with what is wrong; or the news that somebody else has taken it."""
    if not items:
        return await _decided(visit, item_id, Flash("That has been decided already.", "plain"))
    if visit.is_partial:
        return await visit.render("admin/queue_item.html", form.status, item=replace(items[0], form=form))
    return await show_overview(visit, item_id, form)


async def _decided(visit: Visit, item_id: str, message: str | Flash, service_id: str = "") -> Response:
    """`service_id`: whose page to come back to, where that isn't the item's."""
    flash = message if isinstance(message, Flash) else Flash(message)
    if not visit.is_partial:
        is_on_page = visit.form["from"] == "service"
        return await visit.redirect(
            f"/admin/services/{service_id or item_id}" if is_on_page else "/admin", flash
        )
    return await visit.render(
        "admin/decided.html", item_id=item_id, flash=flash, waiting=await load_waiting(visit)
    )


async def load_figures(visit: Visit) -> LiveSnapshot:
    now = utc_now()
    report = await reports.ask_shown(visit, now)
    return LiveSnapshot({"requests": figures.trend(report, now=now)}, etag_of(visit, report))


def _gauge_of(people: Iterable[identity_pb.Merchant | identity_pb.Consumer]) -> figures.Gauge:
    return figures.gauge((from_timestamp(each.registered_at), None) for each in people)


def first_steps(has_merchants: bool, is_open: bool, has_consumers: bool) -> list[tuple[str, str, str, bool]]:
    """For ui.checklist, in place of figures and chart; none once something is, or was, called."""
    if is_open:
        return []
    return [
        (
            "Invite a merchant",
            "The code in the mail registers one merchant.",
            "/admin/merchants#invite",
            has_merchants,
        ),
        (
            "Approve a service",
            "Merchants submit them; they wait for you on this page.",
            "/admin/services",
            False,
        ),
        (
            "Let consumers in",
            "Who wants to call a service asks for access, which you approve here too.",
            "/admin/consumers",
            has_consumers,
        ),
    ]


def _is_listed(service: catalog_pb.Service) -> bool:
    return service.merchant_standing != STANDING_SUSPENDED


def _at_least(count: int, next_page_token: str) -> str:
    """Lists tell no total: beyond the first page all that is known is that there are more."""
    return f"over {count}" if next_page_token else str(count)


VIEWS = (
    page("/admin", show_overview, ADMIN),
    live_view("/admin", load_figures, "admin/live.html", ADMIN),
    action("/admin/services/{service_id}/decision", decide_service, ADMIN),
    action("/admin/services/{service_id}/revisions/{revision_id}/decision", decide_revision, ADMIN),
    action("/admin/access-requests/{access_request_id}/decision", decide_access, ADMIN),
)
