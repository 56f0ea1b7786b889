"""The marketplace, open to everybody (FR3-CONS-02), and asking for access."""

import asyncio

from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1.events_pb2 import DOCKER
from ams.catalog.v1.openapi_pb2 import ApiReference
from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.policy.v1.policy_pb2 import CONSUMER
from ams.registry.v1 import registry_service_pb2 as registry_pb
from ams_common.errors import AppError
from ams_common.project_rights import ProjectRight, may
from starlette.responses import Response

from ams_bff.http.downloads import list_download
from ams_bff.http.routing import action, page
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.views.consumer_images import ask_images
from ams_bff.views.consumer_lists import request_pages
from ams_bff.views.marketplace_facets import chosen_of, filter_fields, groups_of
from ams_bff.views.service_lists import MARKETPLACE_COLUMNS, marketplace_rows

_PAGE_SIZE = 24
_MOST_PROJECTS = 200
_SORTS = ("name", "published_at", "typical_month")


async def list_services(visit: Visit) -> Response:
    answer, facets = await asyncio.gather(
        _ask(visit, _PAGE_SIZE, visit.url.page_token),
        visit.or_none_if_down(visit.api.discovery.GetMarketplaceFacets(**filter_fields(visit))),
    )
    groups = groups_of(visit, facets) if facets is not None else None
    is_by_price = "typical_month" in visit.url.order_by(_SORTS)
    return await visit.render(
        "marketplace/list.html",
        services=answer.services,
        next_token=answer.next_page_token,
        corrected_query=answer.corrected_query,
        facets=groups,
        chosen=chosen_of(visit, groups or ()),
        total=facets.total if facets is not None else 0,
        is_partial=facets is not None and facets.is_partial,
        has_several_currencies=is_by_price
        and len({each.typical_month.currency_code for each in answer.services}) > 1,
    )


async def show_service(visit: Visit) -> Response:
    """One service with all that consumers may know of it."""
    return await _service_page(visit, await _load(visit), Form())


async def request_access(visit: Visit) -> Response:
    service, form = await _load(visit), visit.form
    try:
        await visit.api.keys.RequestAccess(
            service_id=service.service_id,
            note=form["note"],
            project_id=form["project_id"],
            idempotency_key=form["idempotency_key"],
        )
    except AppError as error:
        return await _service_page(visit, service, form.refused(error))
    if form["project_id"]:
        path = f"/dashboard/projects/{form['project_id']}"
        return await visit.redirect(path, f"Access to {service.name} requested. The answer will be here.")
    return await visit.redirect(
        f"/marketplace/{service.slug}", "Access requested. You will find the answer here."
    )


async def _ask(visit: Visit, size: int, page_token: str) -> catalog_pb.ListMarketplaceServicesResponse:
    return await visit.api.catalog.ListMarketplaceServices(
        page_size=size,
        page_token=page_token,
        order_by=visit.url.order_by(_SORTS),
        **filter_fields(visit),
    )


async def _load(visit: Visit) -> catalog_pb.MarketplaceService:
    return await visit.api.catalog.GetMarketplaceService(service=visit.parameter("service"))


async def _service_page(visit: Visit, service: catalog_pb.MarketplaceService, form: Form) -> Response:
    is_consumer = visit.session.person is not None and CONSUMER in visit.session.person.roles
    access = await _access_of(visit, service.service_id) if is_consumer else None
    related, reference = await asyncio.gather(
        visit.or_none_if_down(visit.api.discovery.ListRelatedServices(service=service.slug)),
        _reference_of(visit, service),
    )
    return await visit.render(
        "marketplace/service.html",
        service=service,
        form=form,
        access=access,
        is_consumer=is_consumer,
        related=related.services if related is not None else (),
        reference=reference,
        projects=await _projects_that_may_ask(visit) if is_consumer else [],
        images=await _images_of(visit, service, access),
    )


async def _reference_of(visit: Visit, service: catalog_pb.MarketplaceService) -> ApiReference | None:
    """The names of its operations, if it has a document."""
    if not service.HasField("openapi_document"):
        return None
    return await visit.or_none_if_down(
        visit.api.openapi.GetApiReference(service=service.slug, is_outline=True)
    )


async def _projects_that_may_ask(visit: Visit) -> list[tuple[str, str]]:
    """Ids and names of those for which the reader may ask."""
    listed = await visit.or_none_if_down(visit.api.projects.ListProjects(page_size=_MOST_PROJECTS))
    return [
        (each.project_id, each.name)
        for each in (listed.projects if listed else ())
        if may(each.role, ProjectRight.REQUEST_ACCESS)
    ]


async def _images_of(
    visit: Visit, service: catalog_pb.MarketplaceService, access: keys_pb.AccessRequest | None
) -> registry_pb.ListConsumerImagesResponse | None:
    """The service's images, for who may pull them: only a consumer with a grant hears of any."""
    if service.type != DOCKER or access is None or access.status != keys_pb.APPROVED:
        return None
    return await ask_images(visit, service.service_id)


async def _access_of(visit: Visit, service_id: str) -> keys_pb.AccessRequest | None:
    """The consumer's own newest request for the service."""
    async for requests in request_pages(visit):
        for asked in requests:
            if asked.service_id == service_id and not asked.project_id:
                return asked
    return None


VIEWS = (
    page("/marketplace", list_services),
    list_download("/marketplace", "marketplace", MARKETPLACE_COLUMNS, _ask, marketplace_rows),
    page("/marketplace/{service}", show_service),
    action("/marketplace/{service}/access", request_access, CONSUMER),
)
