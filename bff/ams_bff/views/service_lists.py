"""Lists of services: what the URL asks for, and their rows in a file."""

from typing import Any

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import (
    ACTIVE,
    DOCKER,
    DRAFT,
    PENDING_APPROVAL,
    REJECTED,
    SERVICE_RETIRED,
    SERVICE_STATUS_UNSPECIFIED,
    SERVICE_SUSPENDED,
)

from ams_bff.http.visits import Visit
from ams_bff.ui.csv_files import Cells, cells
from ams_bff.ui.price_words import price_lines

_SORTS = ("name", "status", "created_at", "updated_at")
_STATUSES = {
    "draft": DRAFT,
    "pending": PENDING_APPROVAL,
    "active": ACTIVE,
    "rejected": REJECTED,
    "suspended": SERVICE_SUSPENDED,
    "retired": SERVICE_RETIRED,
}
_SHARED = ("service", "name_in_calls", "merchant", "type", "version", "price", "currency")
SERVICE_COLUMNS = (*_SHARED, "status", "created_at", "changed_at", "service_id")
MARKETPLACE_COLUMNS = (*_SHARED, "rate_limit_per_minute", "tags", "published_at", "service_id")


def list_fields(visit: Visit, size: int, page_token: str) -> dict[str, Any]:
    """What the URL wants of a list for its merchant or the admins, as the request's fields."""
    return {
        "page_size": size,
        "page_token": page_token,
        "status": _STATUSES.get(visit.query.get("status", ""), SERVICE_STATUS_UNSPECIFIED),
        "query": visit.url.words,
        "order_by": visit.url.order_by(_SORTS),
    }


async def service_rows(
    visit: Visit, listed: pb.ListServicesResponse | pb.ListMerchantServicesResponse
) -> list[Cells]:
    """As their merchant and the admins see them."""
    own = ("status", "created_at", "updated_at", "service_id")
    return [[*_shared(service), *cells(service, *own)] for service in listed.services]


async def marketplace_rows(visit: Visit, listed: pb.ListMarketplaceServicesResponse) -> list[Cells]:
    return [
        [
            *_shared(service),
            service.rate_limit_per_minute or "",
            " ".join(service.tags),
            *cells(service, "published_at", "service_id"),
        ]
        for service in listed.services
    ]


def _shared(service: pb.Service | pb.MarketplaceService) -> Cells:
    kind = "Docker image" if service.type == DOCKER else "API"
    price = "; ".join(price_lines(service.price))
    about = (service.name, service.slug, service.merchant_name, kind, service.version)
    return [*about, price, service.price.currency_code]
