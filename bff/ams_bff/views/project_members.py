"""The members of a project and the invitations that it has sent."""

import asyncio
from collections.abc import Sequence

from ams.identity.v1 import project_service_pb2 as pb
from ams.identity.v1.events_pb2 import PROJECT_MANAGER, PROJECT_MEMBER, PROJECT_VIEWER, ProjectRole
from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.errors import AppError, FailedPreconditionError, NotFoundError, ResourceExhaustedError
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.views.consumer_lists import approved_services
from ams_bff.views.naming import name_of, service_names
from ams_bff.views.projects import PATH, rights_of

_PAGE_SIZE = 200
ROLES = {
    "manager": (
        PROJECT_MANAGER,
        "Manager",
        "invites and removes members, changes every key, access and settings",
    ),
    "member": (
        PROJECT_MEMBER,
        "Member",
        "asks for access, makes keys and alerts, and changes those of their own",
    ),
    "viewer": (PROJECT_VIEWER, "Viewer", "sees keys, usage and spend, and changes nothing"),
}


async def show_members(visit: Visit, form: Form | None = None) -> Response:
    """`form`: an invitation that was refused."""
    project_id = visit.parameter("project_id")
    project, listed = await asyncio.gather(
        visit.api.projects.GetProject(project_id=project_id),
        visit.api.projects.ListProjectMembers(project_id=project_id),
    )
    can = rights_of(project)
    invitations, services = await asyncio.gather(
        _invitations(visit, project_id) if can["invite_members"] else _nothing(),
        _services(visit, project_id),
    )
    return await visit.render(
        "projects/members.html",
        project=project,
        can=can,
        members=listed.members,
        invitations=invitations,
        services=services,
        service_names=dict(services),
        role_options=[(name, label, note) for name, (_, label, note) in ROLES.items()],
        form=form or Form.starting(role="member"),
    )


async def invite(visit: Visit) -> Response:
    form, project_id = visit.form, visit.parameter("project_id")
    try:
        if not form["email"]:
            form.refuse("email", "is required")
        role = _role(form)
        form.check()
        made = await visit.api.projects.CreateProjectInvitation(
            project_id=project_id,
            email=form["email"],
            role=role,
            service_ids=form.all("service_ids"),
            idempotency_key=form["idempotency_key"],
        )
    except AppError as error:
        return await show_members(visit, form.refused(error, ResourceExhaustedError))
    return await visit.redirect(_path(project_id), f"{made.email} is invited by mail.")


async def resend_invitation(visit: Visit) -> Response:
    project_id = visit.parameter("project_id")
    try:
        sent = await visit.api.projects.ResendProjectInvitation(
            project_id=project_id, invitation_id=visit.parameter("invitation_id")
        )
    except (NotFoundError, ResourceExhaustedError) as error:
        return await visit.redirect(_path(project_id), Flash(error.message, "bad"))
    return await visit.redirect(_path(project_id), f"The invitation is sent to {sent.email} again.")


async def revoke_invitation(visit: Visit) -> Response:
    project_id = visit.parameter("project_id")
    try:
        ended = await visit.api.projects.RevokeProjectInvitation(
            project_id=project_id, invitation_id=visit.parameter("invitation_id")
        )
    except NotFoundError as error:
        return await visit.redirect(_path(project_id), Flash(error.message, "bad"))
    return await visit.redirect(_path(project_id), f"The invitation of {ended.email} is revoked.")


async def show_member(visit: Visit, form: Form | None = None) -> Response:
    """What a member may do, to be changed. `form`: a change that was refused."""
    project_id, user_id = visit.parameter("project_id"), visit.parameter("user_id")
    project, listed, services = await asyncio.gather(
        visit.api.projects.GetProject(project_id=project_id),
        visit.api.projects.ListProjectMembers(project_id=project_id),
        _services(visit, project_id),
    )
    member = next((each for each in listed.members if each.user_id == user_id), None)
    if member is None:
        raise NotFoundError("project_member_not_found", "There is no such member in this project.")
    name = next((name for name, (role, _, _) in ROLES.items() if role == member.role), "")
    stored = Form.starting(etag=member.etag, role=name, service_ids=list(member.service_ids))
    return await visit.render(
        "projects/member.html",
        project=project,
        can=rights_of(project),
        member=member,
        services=services,
        role_options=[(each, label, note) for each, (_, label, note) in ROLES.items()],
        form=form.beside(stored) if form else stored,
    )


async def update_member(visit: Visit) -> Response:
    form, project_id = visit.form, visit.parameter("project_id")
    try:
        role = _role(form)
        form.check()
        changed = await visit.api.projects.UpdateProjectMember(
            project_id=project_id,
            user_id=visit.parameter("user_id"),
            role=role,
            service_ids=form.all("service_ids"),
            etag=form["etag"],
        )
    except AppError as error:
        return await show_member(visit, form.refused(error))
    return await visit.redirect(_path(project_id), f"{changed.name} is changed.")


async def remove_member(visit: Visit) -> Response:
    project_id = visit.parameter("project_id")
    try:
        await visit.api.projects.RemoveProjectMember(
            project_id=project_id, user_id=visit.parameter("user_id")
        )
    except (NotFoundError, FailedPreconditionError) as error:
        return await visit.redirect(_path(project_id), Flash(error.message, "bad"))
    return await visit.redirect(
        _path(project_id), "The member is removed, and the keys that they made here are revoked."
    )


def _path(project_id: str) -> str:
    return f"{PATH}/{project_id}/members"


def _role(form: Form) -> ProjectRole.ValueType:
    """The role that was chosen; of none the form is refused."""
    if form["role"] in ROLES:
        return ROLES[form["role"]][0]
    form.refuse("role", "is required")
    return PROJECT_VIEWER


async def _invitations(visit: Visit, project_id: str) -> Sequence[pb.ProjectInvite]:
    return (await visit.api.projects.ListProjectInvitations(project_id=project_id)).invitations


async def _nothing() -> Sequence[pb.ProjectInvite]:
    return []


async def _services(visit: Visit, project_id: str) -> list[tuple[str, str]]:
    """Those that the project has access to, by name; none when keys-svc is down."""

    async def ask() -> keys_pb.ListConsumerAccessRequestsResponse:
        return await visit.api.keys.ListConsumerAccessRequests(page_size=_PAGE_SIZE, project_id=project_id)

    listed = await visit.or_none_if_down(ask())
    ids = approved_services(listed.access_requests, project_id) if listed else []
    known = await service_names(visit, ids)
    return sorted(
        ((service_id, name_of(known, service_id)) for service_id in ids), key=lambda pair: pair[1].casefold()
    )


VIEWS = (
    page(f"{PATH}/{{project_id}}/members", show_members, CONSUMER),
    action(f"{PATH}/{{project_id}}/invitations", invite, CONSUMER),
    action(f"{PATH}/{{project_id}}/invitations/{{invitation_id}}/resend", resend_invitation, CONSUMER),
    action(f"{PATH}/{{project_id}}/invitations/{{invitation_id}}/revoke", revoke_invitation, CONSUMER),
    page(f"{PATH}/{{project_id}}/members/{{user_id}}", show_member, CONSUMER),
    action(f"{PATH}/{{project_id}}/members/{{user_id}}", update_member, CONSUMER),
    action(f"{PATH}/{{project_id}}/members/{{user_id}}/remove", remove_member, CONSUMER),
)
