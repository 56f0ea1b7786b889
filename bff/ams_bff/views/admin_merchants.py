"""Merchants: invited, listed, suspended and reinstated (PRD FR4-ADMIN-01)."""

import asyncio

from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_SUSPENDED, STANDING_UNSPECIFIED, Standing
from ams.policy.v1.policy_pb2 import ADMIN
from ams.usage.v1 import usage_service_pb2 as usage_pb
from ams_common.errors import AppError
from starlette.responses import Response

from ams_bff.views import figures
from ams_bff.views.admin_records import actor_names, audit_of, standing_refused
from ams_bff.web import lists
from ams_bff.web.csv_files import PAGE_ROWS, Cells, csv_list
from ams_bff.web.formats import enum_label
from ams_bff.web.forms import Form
from ams_bff.web.routing import action, page
from ams_bff.web.sessions import Flash
from ams_bff.web.visits import Visit

PATH = "/admin/merchants"
_PAGE_SIZE = 20
_INVITES = 10
_MOST_SERVICES = 100
_SORTS = ("company_name", "email", "standing", "registered_at")
_COLUMNS = ("company", "email", "name", "standing", "registered_at", "merchant_id")
_STANDINGS = {"active": STANDING_ACTIVE, "suspended": STANDING_SUSPENDED}


async def list_merchants(visit: Visit) -> Response:
    """With the invites that are under way."""
    return await _list_page(visit, Form())


async def download_merchants(visit: Visit) -> Response:
    """The whole list."""

    async def rows(page_token: str) -> tuple[list[Cells], str]:
        listed = await _ask(visit, PAGE_ROWS, page_token)
        return [_row(merchant) for merchant in listed.merchants], listed.next_page_token

    return await csv_list("merchants", _COLUMNS, rows)


async def invite_merchant(visit: Visit) -> Response:
    """Has the code mailed."""
    form = visit.form
    request = pb.CreateInviteRequest(
        email=form["email"], note=form["note"], idempotency_key=form["idempotency_key"]
    )
    try:
        invite = await visit.ask(visit.services.identity.CreateInvite, request)
    except AppError as error:
        return await _list_page(visit, form.refused(error))
    return await visit.redirect(PATH, f"The invite is on its way to {invite.email}.")


async def show_merchant(visit: Visit) -> Response:
    """Profile, services, usage, and what was done."""
    return await _merchant_page(visit, Form())


async def _merchant_page(visit: Visit, form: Form) -> Response:
    merchant_id = visit.parameter("merchant_id")
    catalog, identity = visit.services.catalog, visit.services.identity
    merchant = await visit.ask(identity.GetMerchant, pb.GetMerchantRequest(merchant_id=merchant_id))
    services, report, records, names = await asyncio.gather(
        visit.ask(
            catalog.ListServices,
            catalog_pb.ListServicesRequest(page_size=_MOST_SERVICES, merchant_id=merchant_id),
        ),
        figures.ask_shown(visit, merchant_id=merchant_id, group_by=usage_pb.SERVICE),
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
        billable=figures.trend(report, figures.billable_of),
        records=records,
        names=names,
    )


async def suspend_merchant(visit: Visit) -> Response:
    """Can be undone from the toast."""
    merchant_id = visit.parameter("merchant_id")
    request = pb.SuspendMerchantRequest(merchant_id=merchant_id, reason=visit.form["reason"])
    path = f"{PATH}/{merchant_id}"
    try:
        merchant = await visit.ask(visit.services.identity.SuspendMerchant, request)
    except AppError as error:
        return await standing_refused(visit, path, error, _merchant_page)
    told = f"{merchant.company_name} is suspended. Calls to its services stop within a second."
    return await visit.redirect(path, Flash(told, action="Undo", action_url=f"{path}/reinstate"))


async def reinstate_merchant(visit: Visit) -> Response:
    """Its services can be called again."""
    merchant_id = visit.parameter("merchant_id")
    request = pb.ReinstateMerchantRequest(merchant_id=merchant_id, reason=visit.form["reason"])
    path = f"{PATH}/{merchant_id}"
    try:
        merchant = await visit.ask(visit.services.identity.ReinstateMerchant, request)
    except AppError as error:
        return await standing_refused(visit, path, error, _merchant_page)
    return await visit.redirect(path, f"{merchant.company_name} is reinstated.")


async def _list_page(visit: Visit, form: Form) -> Response:
    identity = visit.services.identity
    listed, invites = await asyncio.gather(
        _ask(visit, _PAGE_SIZE, lists.page_token(visit)),
        visit.ask(
            identity.ListInvites,
            pb.ListInvitesRequest(page_size=_INVITES, page_token=visit.query.get("invites", "")),
        ),
    )
    return await visit.render(
        "admin/merchants.html",
        form=form,
        merchants=listed.merchants,
        next_token=listed.next_page_token,
        invites=invites.invites,
        next_invites=invites.next_page_token,
    )


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListMerchantsResponse:
    request = pb.ListMerchantsRequest(
        page_size=size,
        page_token=page_token,
        standing=_STANDINGS.get(visit.query.get("standing", ""), STANDING_UNSPECIFIED),
        query=lists.words(visit),
        order_by=lists.order_by(visit, _SORTS),
    )
    return await visit.ask(visit.services.identity.ListMerchants, request)


def _row(merchant: pb.Merchant) -> Cells:
    standing = enum_label(merchant.standing, Standing)
    registered_at = merchant.registered_at.ToJsonString()
    about = (merchant.company_name, merchant.email, merchant.name)
    return *about, standing, registered_at, merchant.merchant_id


VIEWS = (
    page(PATH, list_merchants, ADMIN),
    page(f"{PATH}/table.csv", download_merchants, ADMIN),
    action(PATH, invite_merchant, ADMIN),
    page(f"{PATH}/{{merchant_id}}", show_merchant, ADMIN),
    action(f"{PATH}/{{merchant_id}}/suspend", suspend_merchant, ADMIN),
    action(f"{PATH}/{{merchant_id}}/reinstate", reinstate_merchant, ADMIN),
)
