"""Services as rows of a file."""

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import DOCKER, ServiceStatus
from ams.catalog.v1.pricing_pb2 import Price
from ams_common.money import to_decimal

from ams_bff.http.visits import Visit
from ams_bff.ui.csv_files import Cells, instant
from ams_bff.ui.formats import enum_label

_SHARED = ("service", "name_in_calls", "merchant", "type", "version", "price_per_request", "currency")
SERVICE_COLUMNS = (*_SHARED, "status", "created_at", "changed_at", "service_id")
MARKETPLACE_COLUMNS = (*_SHARED, "rate_limit_per_minute", "tags", "published_at", "service_id")


async def service_rows(
    visit: Visit, listed: pb.ListServicesResponse | pb.ListMerchantServicesResponse
) -> list[Cells]:
    """As their merchant and the admins see them."""
    return [_service_row(service) for service in listed.services]


async def marketplace_rows(visit: Visit, listed: pb.ListMarketplaceServicesResponse) -> list[Cells]:
    """As everybody sees them."""
    return [_marketplace_row(service) for service in listed.services]


def _service_row(service: pb.Service) -> Cells:
    status = enum_label(service.status, ServiceStatus)
    times = (instant(service.created_at), instant(service.updated_at))
    return *_shared(service), status, *times, service.service_id


def _marketplace_row(service: pb.MarketplaceService) -> Cells:
    limit, tags = service.rate_limit_per_minute or "", " ".join(service.tags)
    return *_shared(service), limit, tags, instant(service.published_at), service.service_id


def _shared(service: pb.Service | pb.MarketplaceService) -> Cells:
    kind = "Docker image" if service.type == DOCKER else "API"
    about = (service.name, service.slug, service.merchant_name, kind, service.version)
    return *about, *_price(service.price)


def _price(price: Price) -> tuple[str, str]:
    """Empty for a model that isn't a price per request."""
    if price.WhichOneof("model") != "per_request":
        return "", ""
    amount = price.per_request.amount
    return f"{to_decimal(amount).normalize():f}", amount.currency_code
