"""The team of admins: who is in it, invites to it, leaving it."""

import asyncio

from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.errors import AppError, FailedPreconditionError
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.views.invite_actions import change_invite

PATH = "/admin/team"
_JOIN = "/team/join"
_PAGE_SIZE = 50
_INVITES = 10


async def show_team(visit: Visit) -> Response:
    return await _page(visit, Form())


async def _page(visit: Visit, form: Form) -> Response:
    admins, invites = await asyncio.gather(
        visit.api.team.ListAdmins(page_size=_PAGE_SIZE, page_token=visit.url.page_token),
        visit.api.identity.ListInvites(
            page_size=_INVITES, page_token=visit.query.get("invites", ""), role=ADMIN
        ),
    )
    return await visit.render(
        "admin/team.html",
        form=form,
        admins=admins.admins,
        next_token=admins.next_page_token,
        invites=invites.invites,
        next_invites=invites.next_page_token,
    )


async def invite_admin(visit: Visit) -> Response:
    form = visit.form
    try:
        invite = await visit.api.identity.CreateInvite(
            email=form["email"], note=form["note"], idempotency_key=form["idempotency_key"], role=ADMIN
        )
    except AppError as error:
        return await _page(visit, form.refused(error))
    return await visit.redirect(PATH, f"The invite is on its way to {invite.email}.")


async def revoke_invite(visit: Visit) -> Response:
    return await change_invite(visit, PATH, visit.api.identity.RevokeInvite)


async def resend_invite(visit: Visit) -> Response:
    return await change_invite(visit, PATH, visit.api.identity.ResendInvite)


async def dismiss_admin(visit: Visit) -> Response:
    user_id = visit.parameter("user_id")
    try:
        admin = await visit.api.team.DismissAdmin(user_id=user_id, reason=visit.form["reason"])
    except FailedPreconditionError as error:
        return await visit.redirect(PATH, Flash(error.message, "bad"))
    person = visit.session.person
    if person is not None and person.user_id == user_id:
        await visit.session.end()
        return await visit.redirect("/login", "You are no admin any more. Your sessions have ended.")
    return await visit.redirect(PATH, f"{admin.email} is no admin any more. Their sessions have ended.")


async def show_join_form(visit: Visit) -> Response:
    """The link in an admin's invite leads here, by way of signing in."""
    form = Form.starting(invite_code=visit.query.get("invite_code", ""))
    return await visit.render("account/join_team.html", form=form)


async def join_team(visit: Visit) -> Response:
    form = visit.form
    try:
        await visit.api.team.AcceptAdminInvite(invite_code=form["invite_code"])
    except AppError as error:
        return await visit.render("account/join_team.html", form=form.refused(error))
    await visit.session.act_as(ADMIN)
    return await visit.redirect("/admin", "Welcome to the team. You act as an admin now.")


_INVITE = f"{PATH}/invites/{{invite_id}}"
VIEWS = (
    page(PATH, show_team, ADMIN),
    action(PATH, invite_admin, ADMIN),
    action(f"{_INVITE}/revoke", revoke_invite, ADMIN),
    action(f"{_INVITE}/resend", resend_invite, ADMIN),
    action(f"{PATH}/{{user_id}}/dismiss", dismiss_admin, ADMIN),
    page(_JOIN, show_join_form, is_for_members=True),
    action(_JOIN, join_team, is_for_members=True),
)
