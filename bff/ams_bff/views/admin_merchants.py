"""Merchants: invited, listed, suspended and reinstated (PRD FR4-ADMIN-01)."""

import asyncio
from datetime import datetime

from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_SUSPENDED, STANDING_UNSPECIFIED, Standing
from ams.policy.v1.policy_pb2 import ADMIN
from ams.usage.v1 import usage_service_pb2 as usage_pb
from ams_common.clock import from_timestamp, utc_now
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
from ams_bff.views.admin_records import actor_names, audit_of, standing_refused
from ams_bff.views.service_rows import SERVICE_COLUMNS, service_rows

PATH = "/admin/merchants"
_PAGE_SIZE = 20
_INVITES = 10
_MOST_SERVICES = 100
_SORTS = ("company_name", "email", "standing", "registered_at")
_COLUMNS = ("company", "email", "name", "standing", "registered_at", "merchant_id")
_INVITE_COLUMNS = ("email", "status", "note", "created_at", "expires_at", "accepted_at", "invite_id")
_STANDINGS = {"active": STANDING_ACTIVE, "suspended": STANDING_SUSPENDED}


async def list_merchants(visit: Visit) -> Response:
    """With the invites that are under way."""
    return await _list_page(visit, Form())


async def invite_merchant(visit: Visit) -> Response:
    """Has the code mailed."""
    form = visit.form
    try:
        invite = await visit.api.identity.CreateInvite(
            email=form["email"], note=form["note"], idempotency_key=form["idempotency_key"]
        )
    except AppError as error:
        return await _list_page(visit, form.refused(error))
    return await visit.redirect(PATH, f"The invite is on its way to {invite.email}.")


async def show_merchant(visit: Visit) -> Response:
    """Profile, services, usage, and what was done."""
    return await _merchant_page(visit, Form())


async def _merchant_page(visit: Visit, form: Form) -> Response:
    merchant_id = visit.parameter("merchant_id")
    merchant = await visit.api.identity.GetMerchant(merchant_id=merchant_id)
    services, report, records, names = await asyncio.gather(
        _ask_services(visit, _MOST_SERVICES, ""),
        reports.ask_shown(visit, merchant_id=merchant_id, group_by=usage_pb.SERVICE),
        audit_of(visit, merchant_id),
        actor_names(visit),
    )
    return await visit.render(
        "admin/merchant.html",
        form=form,
        merchant=merchant,
        services=services.services,
        has_more=bool(services.next_page_token),
        used=figures.by_group(report),
        requests=figures.trend(report),
        billable=figures.billable_trend(report),
        records=records,
        names=names,
    )


async def suspend_merchant(visit: Visit) -> Response:
    """Can be undone from the toast."""
    merchant_id = visit.parameter("merchant_id")
    path = f"{PATH}/{merchant_id}"
    try:
        merchant = await visit.api.identity.SuspendMerchant(
            merchant_id=merchant_id, reason=visit.form["reason"]
        )
    except AppError as error:
        return await standing_refused(visit, path, error, _merchant_page)
    message = f"{merchant.company_name} is suspended. Calls to its services stop within a second."
    return await visit.redirect(path, Flash(message, action="Undo", action_url=f"{path}/reinstate"))


async def reinstate_merchant(visit: Visit) -> Response:
    """Its services can be called again."""
    merchant_id = visit.parameter("merchant_id")
    path = f"{PATH}/{merchant_id}"
    try:
        merchant = await visit.api.identity.ReinstateMerchant(
            merchant_id=merchant_id, reason=visit.form["reason"]
        )
    except AppError as error:
        return await standing_refused(visit, path, error, _merchant_page)
    return await visit.redirect(path, f"{merchant.company_name} is reinstated.")


async def _list_page(visit: Visit, form: Form) -> Response:
    listed, invites = await asyncio.gather(
        _ask(visit, _PAGE_SIZE, visit.url.page_token),
        _ask_invites(visit, _INVITES, visit.query.get("invites", "")),
    )
    now = utc_now()
    return await visit.render(
        "admin/merchants.html",
        form=form,
        merchants=listed.merchants,
        next_token=listed.next_page_token,
        invites=[(invite, invite_status(invite, now)) for invite in invites.invites],
        next_invites=invites.next_page_token,
    )


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListMerchantsResponse:
    return await visit.api.identity.ListMerchants(
        page_size=size,
        page_token=page_token,
        standing=_STANDINGS.get(visit.query.get("standing", ""), STANDING_UNSPECIFIED),
        query=visit.url.words,
        order_by=visit.url.order_by(_SORTS),
    )


async def _rows(visit: Visit, listed: pb.ListMerchantsResponse) -> list[Cells]:
    return [
        (
            merchant.company_name,
            merchant.email,
            merchant.name,
            enum_label(merchant.standing, Standing),
            instant(merchant.registered_at),
            merchant.merchant_id,
        )
        for merchant in listed.merchants
    ]


async def _ask_invites(visit: Visit, size: int, page_token: str) -> pb.ListInvitesResponse:
    return await visit.api.identity.ListInvites(page_size=size, page_token=page_token)


async def _invite_rows(visit: Visit, listed: pb.ListInvitesResponse) -> list[Cells]:
    now = utc_now()
    return [
        (
            invite.email,
            invite_status(invite, now),
            invite.note,
            instant(invite.created_at),
            instant(invite.expires_at),
            instant(invite.accepted_at),
            invite.invite_id,
        )
        for invite in listed.invites
    ]


def invite_status(invite: pb.Invite, now: datetime) -> str:
    """In words."""
    if invite.HasField("accepted_at"):
        return "Accepted"
    return "Expired" if from_timestamp(invite.expires_at) <= now else "Open"


async def _ask_services(visit: Visit, size: int, page_token: str) -> catalog_pb.ListServicesResponse:
    return await visit.api.catalog.ListServices(
        page_size=size, page_token=page_token, merchant_id=visit.parameter("merchant_id")
    )


VIEWS = (
    page(PATH, list_merchants, ADMIN),
    list_download(PATH, "merchants", _COLUMNS, _ask, _rows, ADMIN),
    list_download(f"{PATH}/invites", "invites", _INVITE_COLUMNS, _ask_invites, _invite_rows, ADMIN),
    action(PATH, invite_merchant, ADMIN),
    page(f"{PATH}/{{merchant_id}}", show_merchant, ADMIN),
    list_download(f"{PATH}/{{merchant_id}}", "services", SERVICE_COLUMNS, _ask_services, service_rows, ADMIN),
    action(f"{PATH}/{{merchant_id}}/suspend", suspend_merchant, ADMIN),
    action(f"{PATH}/{{merchant_id}}/reinstate", reinstate_merchant, ADMIN),
)
