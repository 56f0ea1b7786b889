"""Merchants: invited, listed, suspended and reinstated (FR4-ADMIN-01)."""

from collections.abc import Mapping
from typing import Any

from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1.events_pb2 import STANDING_SUSPENDED
from ams.policy.v1.policy_pb2 import ADMIN, MERCHANT
from ams_common.errors import AppError
from starlette.responses import Response

from ams_bff.http.downloads import list_download
from ams_bff.http.routing import action
from ams_bff.http.visits import Visit
from ams_bff.ui.csv_files import Cells, cells
from ams_bff.views.invite_actions import change_invite
from ams_bff.views.service_lists import SERVICE_COLUMNS, service_rows
from ams_bff.views.standing import AccountKind, list_page, views_of

_INVITES = 10
_MOST_SERVICES = 100
_INVITE_FIELDS = (
    "email",
    "state",
    "note",
    "created_at",
    "sent_at",
    "expires_at",
    "accepted_at",
    "revoked_at",
    "invite_id",
)


async def invite_merchant(visit: Visit) -> Response:
    form = visit.form
    try:
        invite = await visit.api.identity.CreateInvite(
            email=form["email"], note=form["note"], idempotency_key=form["idempotency_key"]
        )
    except AppError as error:
        return await list_page(MERCHANTS, visit, form.refused(error))
    return await visit.redirect(MERCHANTS.path, f"The invite is on its way to {invite.email}.")


async def _load_invites(visit: Visit) -> Mapping[str, Any]:
    listed = await _ask_invites(visit, _INVITES, visit.query.get("invites", ""))
    return {"invites": listed.invites, "next_invites": listed.next_page_token}


async def _ask_invites(visit: Visit, size: int, page_token: str) -> pb.ListInvitesResponse:
    return await visit.api.identity.ListInvites(page_size=size, page_token=page_token, role=MERCHANT)


async def _invite_rows(visit: Visit, listed: pb.ListInvitesResponse) -> list[Cells]:
    return [cells(invite, *_INVITE_FIELDS) for invite in listed.invites]


async def revoke_invite(visit: Visit) -> Response:
    return await change_invite(visit, MERCHANTS.path, visit.api.identity.RevokeInvite)


async def resend_invite(visit: Visit) -> Response:
    return await change_invite(visit, MERCHANTS.path, visit.api.identity.ResendInvite)


async def _load_services(visit: Visit) -> Mapping[str, Any]:
    listed = await _ask_services(visit, _MOST_SERVICES, "")
    return {"services": listed.services, "has_more": bool(listed.next_page_token)}


async def _ask_services(visit: Visit, size: int, page_token: str) -> catalog_pb.ListServicesResponse:
    merchant_id = visit.parameter("account_id")
    return await visit.api.catalog.ListServices(
        page_size=size, page_token=page_token, merchant_id=merchant_id
    )


MERCHANTS = AccountKind(
    noun="merchant",
    named_by="company_name",
    sorts=("company_name", "email", "standing", "registered_at"),
    columns=("company:company_name", "email", "name", "standing", "registered_at", "merchant_id"),
    get=lambda visit, merchant_id: visit.api.identity.GetMerchant(merchant_id=merchant_id),
    ask=lambda visit, **fields: visit.api.identity.ListMerchants(**fields),
    stopped=STANDING_SUSPENDED,
    stop_verb="suspend",
    stop=lambda visit, merchant_id, reason: visit.api.identity.SuspendMerchant(
        merchant_id=merchant_id, reason=reason
    ),
    stopped_text="is suspended.",
    restore_verb="reinstate",
    restore=lambda visit, merchant_id, reason: visit.api.identity.ReinstateMerchant(
        merchant_id=merchant_id, reason=reason
    ),
    restored_text="is reinstated.",
    load_account=_load_services,
    load_list=_load_invites,
    page_size=20,
)

_OWN = f"{MERCHANTS.path}/{{account_id}}"
_INVITE = f"{MERCHANTS.path}/invites/{{invite_id}}"
VIEWS = (
    *views_of(MERCHANTS),
    action(MERCHANTS.path, invite_merchant, ADMIN),
    action(f"{_INVITE}/revoke", revoke_invite, ADMIN),
    action(f"{_INVITE}/resend", resend_invite, ADMIN),
    list_download(
        f"{MERCHANTS.path}/invites",
        "invites",
        _INVITE_FIELDS,
        _ask_invites,
        _invite_rows,
        ADMIN,
    ),
    list_download(_OWN, "services", SERVICE_COLUMNS, _ask_services, service_rows, ADMIN),
)
