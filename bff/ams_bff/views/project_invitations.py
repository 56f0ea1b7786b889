"""Invitations to projects, for those who got one: by the mail's link, by its code, or from the list."""

from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.errors import AppError, NotFoundError, ResourceExhaustedError
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.views.projects import PATH as PROJECTS_PATH

_PATH = "/invitations"


async def show_invitation(visit: Visit) -> Response:
    """The invitation of the URL's code or id; else where to type a code."""
    person = visit.session.person
    if person is not None and CONSUMER not in person.roles:
        return await visit.render(
            "projects/invitation.html", 403, invitation=None, form=Form(), is_consumer=False
        )
    form = Form.starting(code=visit.query.get("code", ""))
    invitation_id = visit.query.get("invitation", "")
    found = None
    if form["code"] or invitation_id:
        try:
            found = await visit.api.projects.GetReceivedInvitation(
                code=form["code"], invitation_id="" if form["code"] else invitation_id
            )
        except AppError as error:
            form.refuse("code", "is of no open invitation for the address that you are signed in with")
            form.status = error.http_status
    return await visit.render("projects/invitation.html", invitation=found, form=form, is_consumer=True)


async def accept_invitation(visit: Visit) -> Response:
    try:
        project = await visit.api.projects.AcceptProjectInvitation(
            invitation_id=visit.parameter("invitation_id")
        )
    except (NotFoundError, ResourceExhaustedError) as error:
        return await visit.redirect(PROJECTS_PATH, Flash(error.message, "bad"))
    return await visit.redirect(f"{PROJECTS_PATH}/{project.project_id}", f"You are in “{project.name}” now.")


async def decline_invitation(visit: Visit) -> Response:
    try:
        await visit.api.projects.DeclineProjectInvitation(invitation_id=visit.parameter("invitation_id"))
    except NotFoundError as error:
        return await visit.redirect(PROJECTS_PATH, Flash(error.message, "bad"))
    return await visit.redirect(PROJECTS_PATH, "The invitation is declined.")


VIEWS = (
    page(_PATH, show_invitation, is_for_members=True),
    action(f"{_PATH}/{{invitation_id}}/accept", accept_invitation, CONSUMER),
    action(f"{_PATH}/{{invitation_id}}/decline", decline_invitation, CONSUMER),
)
