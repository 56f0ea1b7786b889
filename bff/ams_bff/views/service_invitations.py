"""Invitations to a private service: its merchant makes them, and whoever is given one accepts it."""

from ams.policy.v1.policy_pb2 import CONSUMER, MERCHANT
from ams_common.errors import AppError, NotFoundError
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.views.merchant_services import PATH, load_service

_INVITATIONS = f"{PATH}/{{service_id}}/invitations"
_ACCEPT = "/marketplace/invitation/{token}"
_PAGE_SIZE = 25
_MOST_USES, _MOST_DAYS = 1000, 365


async def show_invitations(visit: Visit, form: Form | None = None) -> Response:
    """With a form for another one."""
    service = await load_service(visit)
    listed = await visit.api.invitations.ListInvitations(
        service_id=service.service_id, page_size=_PAGE_SIZE, page_token=visit.url.page_token
    )
    return await visit.render(
        "invitations/list.html",
        service=service,
        form=form or Form.starting(max_uses="1", valid_days="14"),
        invitations=listed.invitations,
        next_token=listed.next_page_token,
    )


async def create_invitation(visit: Visit) -> Response:
    """Shows the link, once."""
    service, form = await load_service(visit), visit.form
    try:
        uses = form.whole("max_uses", 1, _MOST_USES)
        days = form.whole("valid_days", 1, _MOST_DAYS)
        if not form["note"]:
            form.refuse("note", "is required")
        form.check()
        made = await visit.api.invitations.CreateInvitation(
            service_id=service.service_id, note=form["note"], max_uses=uses, valid_days=days
        )
    except AppError as error:
        return await show_invitations(visit, form.refused(error))
    return await visit.render(
        "invitations/link.html",
        service=service,
        invitation=made.invitation,
        link=f"{visit.public_url}{_ACCEPT.format(token=made.token)}",
    )


async def revoke_invitation(visit: Visit) -> Response:
    service_id = visit.parameter("service_id")
    await visit.api.invitations.RevokeInvitation(
        service_id=service_id, invitation_id=visit.parameter("invitation_id")
    )
    return await visit.redirect(_INVITATIONS.format(service_id=service_id), "The invitation is revoked.")


async def show_accept(visit: Visit, form: Form | None = None) -> Response:
    """Looking at the link accepts nothing."""
    is_consumer = visit.session.person is not None and CONSUMER in visit.session.person.roles
    return await visit.render(
        "invitations/accept.html",
        form=form or Form(),
        is_consumer=is_consumer,
        path=_ACCEPT.format(token=visit.parameter("token")),
    )


async def accept_invitation(visit: Visit) -> Response:
    try:
        service = await visit.api.invitations.AcceptInvitation(token=visit.parameter("token"))
    except AppError as error:
        return await show_accept(visit, visit.form.refused(error, NotFoundError))
    return await visit.redirect(f"/marketplace/{service.slug}", f"{service.name} is open to you now.")


VIEWS = (
    page(_INVITATIONS, show_invitations, MERCHANT),
    action(_INVITATIONS, create_invitation, MERCHANT),
    action(f"{_INVITATIONS}/{{invitation_id}}/revoke", revoke_invitation, MERCHANT),
    page(_ACCEPT, show_accept),
    action(_ACCEPT, accept_invitation, CONSUMER),
)
