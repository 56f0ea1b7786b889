"""The settings of a project: its name, its spend cap, handing it over, leaving and closing it."""

import asyncio

from ams.identity.v1.events_pb2 import PROJECT_OWNER
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.errors import AppError, FailedPreconditionError, NotFoundError, ResourceExhaustedError
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.ui.amounts import CURRENCY_CHOICES
from ams_bff.ui.forms import Form
from ams_bff.views.effects import effect_flash
from ams_bff.views.projects import PATH, or_none, rights_of
from ams_bff.views.spend_caps import cap_form, cap_of, refused_cap


async def show_settings(
    visit: Visit, form: Form | None = None, closing: Form | None = None, typed_cap: Form | None = None
) -> Response:
    """`form`: a new name that was refused; `closing`: closing that was; `typed_cap`: a spend cap that was."""
    project_id = visit.parameter("project_id")
    project, listed, cap = await asyncio.gather(
        visit.api.projects.GetProject(project_id=project_id),
        visit.api.projects.ListProjectMembers(project_id=project_id),
        or_none(visit, visit.api.keys.GetProjectSpendCap(project_id=project_id)),
    )
    stored = Form.starting(etag=project.etag, name=project.name, description=project.description)
    stored_cap = cap_form(cap.amount if cap is not None and cap.HasField("amount") else None)
    stored_cap.values["etag"] = [cap.etag if cap is not None else ""]
    return await visit.render(
        "projects/settings.html",
        (closing or form or typed_cap or Form()).status,
        project=project,
        can=rights_of(project),
        others=[member for member in listed.members if member.role != PROJECT_OWNER],
        offered_to=next((each for each in listed.members if each.user_id == project.offered_to_id), None),
        form=form.beside(stored) if form else stored,
        closing=closing or Form(),
        cap=cap,
        cap_form=typed_cap.beside(stored_cap) if typed_cap else stored_cap,
        currencies=CURRENCY_CHOICES,
    )


async def update_project(visit: Visit) -> Response:
    form, project_id = visit.form, visit.parameter("project_id")
    try:
        if not form["name"]:
            form.refuse("name", "is required")
        form.check()
        await visit.api.projects.UpdateProject(
            project_id=project_id, name=form["name"], description=form["description"], etag=form["etag"]
        )
    except AppError as error:
        return await show_settings(visit, form.refused(error))
    return await visit.redirect(_path(project_id), "The settings are saved.")


async def set_project_cap(visit: Visit) -> Response:
    """What calls with all of its keys may cost in a month; or no limit to it."""
    form, project_id = visit.form, visit.parameter("project_id")
    if form["intent"] == "remove":
        await visit.api.keys.SetProjectSpendCap(project_id=project_id)
        return await visit.redirect(_path(project_id), "The project's spend cap is removed.")
    try:
        cap = cap_of(form)
        form.check()
        capped = await visit.api.keys.SetProjectSpendCap(project_id=project_id, amount=cap, etag=form["etag"])
    except AppError as error:
        return await show_settings(visit, typed_cap=refused_cap(form, error, "amount"))
    flash = effect_flash("The project's spend cap is set.", capped, visit.zone)
    return await visit.redirect(_path(project_id), flash)


async def offer_project(visit: Visit) -> Response:
    """To a member, who has to accept; or no longer."""
    project_id = visit.parameter("project_id")
    try:
        if visit.form["intent"] == "withdraw":
            await visit.api.projects.WithdrawProjectOffer(project_id=project_id)
            return await visit.redirect(_path(project_id), "The offer is withdrawn.")
        await visit.api.projects.OfferProject(project_id=project_id, user_id=visit.form["user_id"])
    except (NotFoundError, FailedPreconditionError) as error:
        return await visit.redirect(_path(project_id), Flash(error.message, "bad"))
    return await visit.redirect(
        _path(project_id), "The project is offered. It stays yours until it is accepted."
    )


async def answer_offer(visit: Visit) -> Response:
    """Whoever it is offered to takes it, and pays from now on, or doesn't."""
    project_id = visit.parameter("project_id")
    path = f"{PATH}/{project_id}"
    try:
        if visit.form["intent"] == "decline":
            await visit.api.projects.DeclineProjectOffer(project_id=project_id)
            return await visit.redirect(path, "The offer is declined.")
        project = await visit.api.projects.AcceptProjectOffer(project_id=project_id)
    except (NotFoundError, FailedPreconditionError, ResourceExhaustedError) as error:
        return await visit.redirect(path, Flash(error.message, "bad"))
    return await visit.redirect(
        path, f"“{project.name}” is yours: what its keys use from now on is billed to you."
    )


async def leave_project(visit: Visit) -> Response:
    project_id = visit.parameter("project_id")
    try:
        await visit.api.projects.LeaveProject(project_id=project_id)
    except FailedPreconditionError as error:
        return await visit.redirect(_path(project_id), Flash(error.message, "bad"))
    return await visit.redirect(PATH, "You have left the project. The keys that you made there are revoked.")


async def close_project(visit: Visit) -> Response:
    """For good, when the project's name is typed."""
    form, project_id = visit.form, visit.parameter("project_id")
    project = await visit.api.projects.GetProject(project_id=project_id)
    try:
        if form["confirm"] != project.name.strip():
            form.refuse("confirm", f"that is not “{project.name}”: nothing was closed")
        form.check()
        await visit.api.projects.CloseProject(project_id=project_id)
    except AppError as error:
        return await show_settings(visit, closing=form.refused(error))
    return await visit.redirect(
        f"{PATH}/{project_id}", f"“{project.name}” is closed, and its keys are revoked."
    )


def _path(project_id: str) -> str:
    return f"{PATH}/{project_id}/settings"


VIEWS = (
    page(f"{PATH}/{{project_id}}/settings", show_settings, CONSUMER),
    action(f"{PATH}/{{project_id}}/settings", update_project, CONSUMER),
    action(f"{PATH}/{{project_id}}/spend-cap", set_project_cap, CONSUMER),
    action(f"{PATH}/{{project_id}}/offer", offer_project, CONSUMER),
    action(f"{PATH}/{{project_id}}/offer/answer", answer_offer, CONSUMER),
    action(f"{PATH}/{{project_id}}/leave", leave_project, CONSUMER),
    action(f"{PATH}/{{project_id}}/close", close_project, CONSUMER),
)
