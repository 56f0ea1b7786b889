"""The marketplace, open to everybody (PRD FR3-CONS-02), and asking for access."""

from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1.events_pb2 import API, DOCKER, SERVICE_TYPE_UNSPECIFIED
from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.policy.v1.policy_pb2 import CONSUMER
from ams.registry.v1 import registry_service_pb2 as registry_pb
from ams_common.errors import AppError
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.visits import Visit
from ams_bff.ui import lists
from ams_bff.ui.csv_files import table
from ams_bff.ui.forms import Form
from ams_bff.views.consumer_images import ask_images
from ams_bff.views.service_rows import MARKETPLACE_COLUMNS, marketplace_rows

_PAGE_SIZE = 24
_SORTS = ("name", "published_at")
_TYPES = {"api": API, "docker": DOCKER}
# Enough to find a request among those of one consumer: 5 pages of 200.
_MOST_PAGES = 5


async def list_services(visit: Visit) -> Response:
    """Services, searched, filtered and sorted by the URL."""
    answer = await _ask(visit, _PAGE_SIZE, lists.page_token(visit))
    return await visit.render(
        "marketplace/list.html", services=answer.services, next_token=answer.next_page_token
    )


async def show_service(visit: Visit) -> Response:
    """One service with all that consumers may know of it."""
    return await _service_page(visit, await _load(visit), Form())


async def request_access(visit: Visit) -> Response:
    """Asks for access; an admin decides."""
    service, form = await _load(visit), visit.form
    request = keys_pb.RequestAccessRequest(
        service_id=service.service_id, note=form["note"], idempotency_key=form["idempotency_key"]
    )
    try:
        await visit.ask(visit.services.keys.RequestAccess, request)
    except AppError as error:
        return await _service_page(visit, service, form.refused(error))
    return await visit.redirect(
        f"/marketplace/{service.slug}", "Access requested. You will find the answer here."
    )


async def _ask(visit: Visit, size: int, page_token: str) -> catalog_pb.ListMarketplaceServicesResponse:
    request = catalog_pb.ListMarketplaceServicesRequest(
        page_size=size,
        page_token=page_token,
        query=lists.words(visit),
        order_by=lists.order_by(visit, _SORTS),
        type=_TYPES.get(visit.query.get("type", ""), SERVICE_TYPE_UNSPECIFIED),
        tag=visit.query.get("tag", "")[:30],
    )
    return await visit.ask(visit.services.catalog.ListMarketplaceServices, request)


async def _load(visit: Visit) -> catalog_pb.MarketplaceService:
    request = catalog_pb.GetMarketplaceServiceRequest(service=visit.parameter("service"))
    return await visit.ask(visit.services.catalog.GetMarketplaceService, request)


async def _service_page(visit: Visit, service: catalog_pb.MarketplaceService, form: Form) -> Response:
    is_consumer = visit.person is not None and CONSUMER in visit.person.roles
    access = await _access_of(visit, service.service_id) if is_consumer else None
    return await visit.render(
        "marketplace/service.html",
        service=service,
        form=form,
        access=access,
        is_consumer=is_consumer,
        images=await _images_of(visit, service, access),
    )


async def _images_of(
    visit: Visit, service: catalog_pb.MarketplaceService, access: keys_pb.AccessRequest | None
) -> registry_pb.ListConsumerImagesResponse | None:
    """The service's images, for who may pull them: only a consumer with a grant is told of any."""
    if service.type != DOCKER or access is None or access.status != keys_pb.APPROVED:
        return None
    return await ask_images(visit, service.service_id)


async def _access_of(visit: Visit, service_id: str) -> keys_pb.AccessRequest | None:
    """The consumer's newest request for the service."""
    token = ""
    for _ in range(_MOST_PAGES):
        request = keys_pb.ListConsumerAccessRequestsRequest(page_size=200, page_token=token)
        answer = await visit.ask(visit.services.keys.ListConsumerAccessRequests, request)
        found = next((asked for asked in answer.access_requests if asked.service_id == service_id), None)
        token = answer.next_page_token
        if found is not None or not token:
            return found
    return None


VIEWS = (
    page("/marketplace", list_services),
    table("/marketplace", "marketplace", MARKETPLACE_COLUMNS, _ask, marketplace_rows),
    page("/marketplace/{service}", show_service),
    action("/marketplace/{service}/access", request_access, CONSUMER),
)
