"""A merchant's services: list, new, one service, its changes and its way to approval."""

import asyncio

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import ACTIVE
from ams.catalog.v1.revision_pb2 import REVISION_PENDING
from ams.policy.v1.policy_pb2 import MERCHANT
from ams.usage.v1 import usage_service_pb2 as usage_pb
from ams_common.errors import AppError, FailedPreconditionError, NotFoundError
from starlette.responses import Response

from ams_bff.http.downloads import list_download
from ams_bff.http.routing import action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.usage import figures, reports
from ams_bff.views import metadata_forms, price_forms, service_forms
from ams_bff.views.effects import effect_flash
from ams_bff.views.price_previews import editor_fields
from ams_bff.views.service_lists import SERVICE_COLUMNS, list_fields, service_rows

PATH = "/merchant/services"
_PAGE_SIZE = 25
_SHOWN_REVISIONS = 10
_NOT_NOW = "It can't be changed while it waits for approval, is suspended or is retired."


async def list_services(visit: Visit) -> Response:
    listed, report = await asyncio.gather(
        _ask(visit, _PAGE_SIZE, visit.url.page_token),
        reports.ask_shown(visit, group_by=usage_pb.SERVICE),
    )
    return await visit.render(
        "merchant/services.html",
        services=listed.services,
        next_token=listed.next_page_token,
        used=figures.by_group(report),
    )


async def show_new(visit: Visit, form: Form | None = None) -> Response:
    form = form or service_forms.empty_form()
    return await visit.render(
        "merchant/new_service.html",
        form=form,
        **metadata_forms.choices_of(form),
        **await editor_fields(visit, form),
    )


async def create_service(visit: Visit) -> Response:
    """A draft; or only the form again, when it is the price's parts that were changed."""
    form = visit.form
    if price_forms.edit(form):
        return await show_new(visit, form)
    try:
        made = await visit.api.catalog.CreateService(**service_forms.new_service(form))
    except AppError as error:
        return await show_new(visit, form.refused(error))
    return await visit.redirect(
        f"{PATH}/{made.service_id}", f"{made.name} is a draft now. Submit it when it is ready."
    )


async def show_service(visit: Visit, form: Form | None = None) -> Response:
    service = await load_service(visit)
    report, published, revisions = await asyncio.gather(
        reports.ask_shown(visit, service_id=service.service_id),
        _published(visit, service),
        visit.api.revisions.ListServiceRevisions(service_id=service.service_id, page_size=_SHOWN_REVISIONS),
    )
    return await visit.render(
        "merchant/service.html",
        form=form or Form(),
        service=service,
        published=published,
        requests=figures.trend(report),
        billable=figures.billable_trend(report),
        report=report,
        revisions=revisions.revisions,
    )


async def show_edit(visit: Visit) -> Response:
    """Its form, with what its state lets change; where a change waits or was rejected, as that wanted it."""
    service = await load_service(visit)
    if not service.changeable_fields:
        return await visit.redirect(f"{PATH}/{service.service_id}", Flash(_NOT_NOW, "plain"))
    return await _edit_page(visit, service, await _stored(visit, service))


async def _stored(visit: Visit, service: pb.Service) -> Form:
    """What of the service can be changed, as its editor begins with it."""
    shown = service
    if service.status == ACTIVE and service.HasField("revision"):
        asked = await visit.api.revisions.GetRevision(
            service_id=service.service_id, revision_id=service.revision.revision_id
        )
        shown = asked.proposed
    form = service_forms.form_of(shown)
    shown_parts = {*service.changeable_fields, "example"}
    form.values = {
        name: texts for name, texts in form.values.items() if name.partition(".")[0] in shown_parts
    }
    form.values["etag"] = [service.etag]
    return form


async def update_service(visit: Visit) -> Response:
    """Changes it; or only shows the form again, when it is the price's parts that were changed."""
    service, form = await load_service(visit), visit.form
    path = f"{PATH}/{service.service_id}"
    if not service.changeable_fields:
        # Somebody else has submitted it, say: what was typed is still shown.
        error = FailedPreconditionError("service_not_changeable", _NOT_NOW)
        return await _edit_page(visit, service, form.refused(error))
    if price_forms.edit(form):
        return await _edit_page(visit, service, form)
    try:
        changed = await visit.api.catalog.UpdateService(**service_forms.changed_service(service, form))
    except AppError as error:
        refused, service = form.refused(error), await load_service(visit)
        return await _edit_page(visit, service, refused.beside(await _stored(visit, service)))
    if changed.revision.status == REVISION_PENDING:
        return await visit.redirect(path, "Saved. An admin looks at what waits for approval.")
    return await visit.redirect(path, "Changes saved.")


async def submit_service(visit: Visit) -> Response:
    try:
        service = await visit.api.catalog.SubmitService(service_id=visit.parameter("service_id"))
    except AppError as error:
        return await show_service(visit, visit.form.refused(error))
    return await visit.redirect(
        f"{PATH}/{service.service_id}", f"{service.name} is submitted. An admin will look at it."
    )


async def withdraw_revision(visit: Visit) -> Response:
    """Takes a change back that waits."""
    service_id, revision_id = visit.parameter("service_id"), visit.parameter("revision_id")
    try:
        await visit.api.revisions.WithdrawRevision(service_id=service_id, revision_id=revision_id)
    except AppError as error:
        return await show_service(visit, visit.form.refused(error))
    return await visit.redirect(
        f"{PATH}/{service_id}", "The change is withdrawn. The service stays as it is."
    )


async def withdraw_service(visit: Visit) -> Response:
    service_id = visit.parameter("service_id")
    try:
        service = await visit.api.lifecycle.WithdrawService(service_id=service_id)
    except AppError as error:
        return await show_service(visit, visit.form.refused(error))
    flash = effect_flash(f"{service.name} is a draft again.", service, visit.zone)
    return await visit.redirect(f"{PATH}/{service_id}", flash)


async def retire_service(visit: Visit) -> Response:
    """For good, and so only for who types its name."""
    service, form = await load_service(visit), visit.form
    if form["confirm"] != service.name:
        form.refuse("confirm", "must be the service's name")
        return await show_service(visit, form)
    try:
        retired = await visit.api.lifecycle.RetireService(service_id=service.service_id)
    except AppError as error:
        return await show_service(visit, form.refused(error))
    flash = effect_flash(f"{service.name} is retired.", retired, visit.zone)
    return await visit.redirect(f"{PATH}/{service.service_id}", flash)


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListMerchantServicesResponse:
    return await visit.api.catalog.ListMerchantServices(**list_fields(visit, size, page_token))


async def load_service(visit: Visit) -> pb.Service:
    service = await visit.api.catalog.GetService(service_id=visit.parameter("service_id"))
    # An admin who is a merchant too may read any; here stand the merchant's own.
    if visit.session.person is None or service.merchant_id != visit.session.person.user_id:
        raise NotFoundError("service_not_found", "There is no such service.")
    return service


async def _edit_page(visit: Visit, service: pb.Service, form: Form) -> Response:
    return await visit.render(
        "merchant/edit_service.html",
        form=form,
        service=service,
        fields=service.changeable_fields or {name.partition(".")[0] for name in form.values},
        **metadata_forms.choices_of(form),
        **await editor_fields(visit, form),
    )


async def _published(visit: Visit, service: pb.Service) -> pb.MarketplaceService | None:
    """As it stands in the marketplace, if it does."""
    if service.status != ACTIVE:
        return None
    try:
        return await visit.api.catalog.GetMarketplaceService(service=service.service_id)
    except NotFoundError:
        return None


VIEWS = (
    page(PATH, list_services, MERCHANT),
    action(PATH, create_service, MERCHANT),
    list_download(PATH, "services", SERVICE_COLUMNS, _ask, service_rows, MERCHANT),
    page(f"{PATH}/new", show_new, MERCHANT),
    page(f"{PATH}/{{service_id}}", show_service, MERCHANT),
    page(f"{PATH}/{{service_id}}/edit", show_edit, MERCHANT),
    action(f"{PATH}/{{service_id}}/edit", update_service, MERCHANT),
    action(f"{PATH}/{{service_id}}/submit", submit_service, MERCHANT),
    action(f"{PATH}/{{service_id}}/withdraw", withdraw_service, MERCHANT),
    action(f"{PATH}/{{service_id}}/retire", retire_service, MERCHANT),
    action(f"{PATH}/{{service_id}}/revisions/{{revision_id}}/withdraw", withdraw_revision, MERCHANT),
)
