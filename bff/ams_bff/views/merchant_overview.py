"""A merchant's first page: figures, then what needs a decision, then what went on."""

import asyncio
from datetime import datetime, timedelta

from ams.billing.v1 import billing_service_pb2 as billing_pb
from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1.events_pb2 import ACTIVE, DRAFT, PENDING_APPROVAL, REJECTED
from ams.policy.v1.policy_pb2 import MERCHANT
from ams.usage.v1 import usage_service_pb2 as usage_pb
from ams_common.clock import utc_now
from ams_common.money import to_decimal
from starlette.responses import Response

from ams_bff.views import figures
from ams_bff.web.live import Picture, live, mark_of
from ams_bff.web.routing import page
from ams_bff.web.visits import Visit

_MOST_SERVICES = 200
_BUSIEST = 5


async def show_overview(visit: Visit) -> Response:
    """Three steps to the first service instead, for who has none that is active."""
    request = catalog_pb.ListMerchantServicesRequest(page_size=_MOST_SERVICES)
    listed, picture = await asyncio.gather(
        visit.ask(visit.services.catalog.ListMerchantServices, request), picture_figures(visit)
    )
    services, used = list(listed.services), picture.context["used"]
    return await visit.render(
        "merchant/overview.html",
        services=services,
        is_new=not any(service.status == ACTIVE for service in services),
        is_submitted=any(service.status in (PENDING_APPROVAL, ACTIVE) for service in services),
        active_count=sum(service.status == ACTIVE for service in services),
        pending=[service for service in services if service.status == PENDING_APPROVAL],
        undecided=[service for service in services if service.status in (REJECTED, DRAFT)],
        busiest=sorted(services, key=lambda service: -(used[service.service_id] or 0))[:_BUSIEST],
        mark=picture.mark,
        **picture.context,
    )


async def picture_figures(visit: Visit) -> Picture:
    """What ticks: requests, revenue and the chart."""
    now = utc_now()
    report, revenue, last_revenue = await asyncio.gather(
        figures.ask_shown(visit, now, group_by=usage_pb.SERVICE),
        visit.unless_away(_ask_revenue(visit, now)),
        visit.unless_away(_ask_revenue(visit, now.replace(day=1) - timedelta(days=1))),
    )
    context = {
        "used": figures.by_group(report, now),
        "requests": figures.trend(report, now=now),
        "billable": figures.trend(report, figures.billable_of, now),
        "revenue": revenue,
        "last_revenue": last_revenue,
        "revenue_change": revenue_change(revenue, last_revenue),
    }
    return Picture(context, mark_of(visit, report, revenue, last_revenue))


async def _ask_revenue(visit: Visit, in_month: datetime) -> billing_pb.GetMerchantRevenueResponse:
    request = billing_pb.GetMerchantRevenueRequest(period=in_month.strftime("%Y-%m"))
    return await visit.ask(visit.services.billing.GetMerchantRevenue, request)


def revenue_change(
    revenue: billing_pb.GetMerchantRevenueResponse | None,
    before: billing_pb.GetMerchantRevenueResponse | None,
) -> float | None:
    """A fraction of the month before; None where there is nothing to compare: no revenue then, or other
    currencies."""
    if revenue is None or before is None:
        return None
    if len(revenue.totals) != 1 or len(before.totals) != 1:
        return None
    now_gross, gross_before = revenue.totals[0].gross, before.totals[0].gross
    if now_gross.currency_code != gross_before.currency_code or not to_decimal(gross_before):
        return None
    return float(to_decimal(now_gross) / to_decimal(gross_before) - 1)


VIEWS = (
    page("/merchant", show_overview, MERCHANT),
    live("/merchant", picture_figures, "merchant/live.html", MERCHANT),
)
