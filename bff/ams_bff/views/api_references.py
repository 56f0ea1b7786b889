"""What a service's OpenAPI document tells those who call it, and the document itself."""

from collections.abc import Iterable

from ams.catalog.v1.openapi_pb2 import Operation
from starlette.responses import Response

from ams_bff.http.routing import page
from ams_bff.http.visits import Visit

# More of them are listed, and each is told of on its own page.
_MOST_IN_FULL = 40


def by_tag(operations: Iterable[Operation]) -> list[tuple[str, list[Operation]]]:
    """In the order in which the tags come; those without one last, under ""."""
    groups: dict[str, list[Operation]] = {}
    for operation in operations:
        groups.setdefault(operation.tag, []).append(operation)
    return sorted(groups.items(), key=lambda group: not group[0])


def document_answer(content: str, media_type: str, name: str) -> Response:
    """The document as a file to keep. It is a stranger's: no browser shows it."""
    ending = "json" if media_type == "application/json" else "yaml"
    headers = {"content-disposition": f'attachment; filename="{name}-openapi.{ending}"'}
    return Response(content, media_type=media_type, headers=headers)


async def show_reference(visit: Visit) -> Response:
    service = await visit.api.catalog.GetMarketplaceService(service=visit.parameter("service"))
    is_long = service.openapi_document.operation_count > _MOST_IN_FULL
    reference = await visit.api.openapi.GetApiReference(service=service.slug, is_outline=is_long)
    return await visit.render(
        "marketplace/reference.html",
        service=service,
        reference=reference,
        groups=by_tag(reference.operations),
        is_long=is_long,
    )


async def show_operation(visit: Visit) -> Response:
    service = await visit.api.catalog.GetMarketplaceService(service=visit.parameter("service"))
    reference = await visit.api.openapi.GetApiReference(
        service=service.slug, operation_id=visit.parameter("operation_id")
    )
    return await visit.render(
        "marketplace/operation.html", service=service, operation=reference.operations[0]
    )


async def download_document(visit: Visit) -> Response:
    """With the service's address at the gateway in it."""
    service = visit.parameter("service")
    document = await visit.api.openapi.GetMarketplaceOpenapiDocument(service=service)
    return document_answer(document.content, document.media_type, "service")


VIEWS = (
    page("/marketplace/{service}/reference", show_reference),
    page("/marketplace/{service}/reference/{operation_id}", show_operation),
    page("/marketplace/{service}/openapi.json", download_document),
)
