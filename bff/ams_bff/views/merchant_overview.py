"""A merchant's first page: figures, then what needs a decision, then what went on."""

import asyncio

from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1.events_pb2 import ACTIVE, DRAFT, PENDING_APPROVAL, REJECTED
from ams.policy.v1.policy_pb2 import MERCHANT
from ams.usage.v1 import usage_service_pb2 as usage_pb
from starlette.responses import Response

from ams_bff.views import figures
from ams_bff.web.routing import page
from ams_bff.web.visits import Visit

_MOST_SERVICES = 200
_BUSIEST = 5


async def show_overview(visit: Visit) -> Response:
    """Three steps to the first service instead, for who has none that is active."""
    catalog, usage = visit.services.catalog, visit.services.usage
    listed, report = await asyncio.gather(
        visit.ask(
            catalog.ListMerchantServices, catalog_pb.ListMerchantServicesRequest(page_size=_MOST_SERVICES)
        ),
        visit.ask(
            usage.GetMerchantUsage,
            usage_pb.GetMerchantUsageRequest(**figures.window(), group_by=usage_pb.SERVICE),
        ),
    )
    services = list(listed.services)
    used = figures.by_group(report)
    return await visit.render(
        "merchant/overview.html",
        services=services,
        is_new=not any(service.status == ACTIVE for service in services),
        is_submitted=any(service.status in (PENDING_APPROVAL, ACTIVE) for service in services),
        active_count=sum(service.status == ACTIVE for service in services),
        pending=[service for service in services if service.status == PENDING_APPROVAL],
        undecided=[service for service in services if service.status in (REJECTED, DRAFT)],
        busiest=sorted(services, key=lambda service: -used[service.service_id])[:_BUSIEST],
        used=used,
        requests=figures.trend(report),
        billable=figures.trend(report, figures.billable_of),
        billable_this_month=figures.this_month(report, figures.billable_of),
    )


VIEWS = (page("/merchant", show_overview, MERCHANT),)
