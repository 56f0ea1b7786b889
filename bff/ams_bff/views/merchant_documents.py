"""The OpenAPI document of a merchant's service: attached, replaced, taken away; and looked at by admins."""

from typing import Any, NamedTuple

from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1 import openapi_service_pb2 as pb
from ams.catalog.v1.events_pb2 import API
from ams.catalog.v1.revision_pb2 import REVISION_PENDING
from ams.policy.v1.policy_pb2 import ADMIN, MERCHANT
from ams_common.errors import AbortedError, AppError, NotFoundError
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.views.api_references import by_tag, document_answer
from ams_bff.views.merchant_services import PATH, load_service

_HERE = f"{PATH}/{{service_id}}/openapi"
_FIELD = "openapi_document"
# A file isn't kept, as what is typed is.
_CHANGED = (
    "This was changed while you had it open, so nothing is saved yet. What is there now stands below: choose "
    "the file, or remove the document, once more."
)


class Documents(NamedTuple):
    """The one in force and the one that waits for approval, each if there is one."""

    present: pb.OpenapiDocument | None
    proposed: pb.OpenapiDocument | None


async def load_documents(visit: Visit, service: catalog_pb.Service) -> Documents:
    """Those of a service for its merchant or an admin."""
    revision = service.revision
    is_changing = revision.status == REVISION_PENDING and any(
        change.field == _FIELD and change.after for change in revision.changes
    )
    present = proposed = None
    if service.HasField("openapi_document"):
        present = await visit.api.openapi.GetOpenapiDocument(service_id=service.service_id)
    if is_changing:
        proposed = await visit.api.openapi.GetOpenapiDocument(service_id=service.service_id, is_proposed=True)
    return Documents(present, proposed)


async def show_document(visit: Visit) -> Response:
    service = await _load(visit)
    return await _page(visit, service, Form.starting(etag=service.etag))


async def set_document(visit: Visit) -> Response:
    """Sends the file as it is; what is wrong with it is told problem by problem."""
    service, form = await _load(visit), visit.form
    try:
        content = form.files.get("content", b"").decode()
        if not content:
            form.refuse("content", "is required: choose a file")
        form.check()
        changed = await visit.api.openapi.SetOpenapiDocument(
            service_id=service.service_id, content=content, etag=form["etag"]
        )
    except UnicodeDecodeError:
        form.refuse("content", "must be a text in UTF-8")
        return await _page(visit, service, form)
    except AppError as error:
        problems = [each.description for each in error.violations] if error.violations else []
        return await _refused_page(visit, error, problems)
    waits = changed.revision.status == REVISION_PENDING
    said = "An admin looks at the document before it is shown." if waits else "The document is attached."
    return await visit.redirect(f"{PATH}/{service.service_id}/openapi", said)


async def delete_document(visit: Visit) -> Response:
    service = await _load(visit)
    try:
        await visit.api.openapi.DeleteOpenapiDocument(service_id=service.service_id, etag=visit.form["etag"])
    except AppError as error:
        return await _refused_page(visit, error)
    return await visit.redirect(f"{PATH}/{service.service_id}/openapi", "Done.")


async def download_own(visit: Visit) -> Response:
    """As it was given."""
    service = await _load(visit)
    return await _file(visit, service.service_id, service.slug)


async def show_for_admin(visit: Visit) -> Response:
    """What is attached to a service, and what would be."""
    service = await visit.api.catalog.GetService(service_id=visit.parameter("service_id"))
    documents = await load_documents(visit, service)
    if documents == (None, None):
        raise NotFoundError("openapi_document_not_found", "This service has no OpenAPI document.")
    return await visit.render("admin/document.html", service=service, **_shown(documents))


async def download_for_admin(visit: Visit) -> Response:
    service = await visit.api.catalog.GetService(service_id=visit.parameter("service_id"))
    return await _file(visit, service.service_id, service.slug)


async def _load(visit: Visit) -> catalog_pb.Service:
    service = await load_service(visit)
    if service.type != API:
        raise NotFoundError("service_not_found", "There is no such service.")
    return service


async def _file(visit: Visit, service_id: str, slug: str) -> Response:
    is_proposed = "proposed" in visit.query
    document = await visit.api.openapi.GetOpenapiDocument(service_id=service_id, is_proposed=is_proposed)
    return document_answer(document.content, document.media_type, slug)


async def _refused_page(visit: Visit, error: AppError, problems: list[str] | None = None) -> Response:
    """What is there by now, which the form then answers to."""
    form, service = visit.form.refused(error), await _load(visit)
    form = form.beside(Form.starting(etag=service.etag))
    if isinstance(error, AbortedError):
        form.message = _CHANGED
    return await _page(visit, service, form, problems)


async def _page(
    visit: Visit, service: catalog_pb.Service, form: Form, problems: list[str] | None = None
) -> Response:
    documents = await load_documents(visit, service)
    return await visit.render(
        "merchant/document.html",
        form=form,
        service=service,
        problems=problems if problems and len(problems) > 1 else [],
        **_shown(documents),
    )


def _shown(documents: Documents) -> dict[str, Any]:
    """For the templates: the one that is looked at, with its operations by tag."""
    document = documents.proposed or documents.present
    return {
        "present": documents.present,
        "proposed": documents.proposed,
        "groups": by_tag(document.reference.operations) if document is not None else [],
    }


VIEWS = (
    page(_HERE, show_document, MERCHANT),
    action(_HERE, set_document, MERCHANT),
    action(f"{_HERE}/delete", delete_document, MERCHANT),
    page(f"{_HERE}/file", download_own, MERCHANT),
    page("/admin/services/{service_id}/openapi", show_for_admin, ADMIN),
    page("/admin/services/{service_id}/openapi/file", download_for_admin, ADMIN),
)
