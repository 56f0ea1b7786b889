"""A merchant's first page: figures, then what needs a decision, then what went on."""

import asyncio
from collections.abc import Iterable, Sequence

from ams.billing.v1 import billing_service_pb2 as billing_pb
from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1.events_pb2 import ACTIVE, DRAFT, PENDING_APPROVAL, REJECTED
from ams.policy.v1.policy_pb2 import MERCHANT
from ams.registry.v1 import registry_service_pb2 as registry_pb
from ams.usage.v1 import usage_service_pb2 as usage_pb
from ams_common.clock import utc_now
from ams_common.errors import DeadlineExceededError, UnavailableError
from starlette.responses import Response

from ams_bff.http.feeds import WATCH_REVENUE
from ams_bff.http.routing import page
from ams_bff.http.visits import Visit
from ams_bff.live.snapshots import LiveSnapshot, etag_of, live_view
from ams_bff.ui.periods import months_before
from ams_bff.usage import figures, reports
from ams_bff.views.merchant_activity import events_of

_MOST_SERVICES = 200
_MOST_PUBLISHED = 100
_BUSIEST = 5
_NEWEST = 20


async def show_overview(visit: Visit) -> Response:
    """Three steps to the first service instead, for who has none that is active."""
    listed, facts, snapshot = await asyncio.gather(
        visit.api.catalog.ListMerchantServices(page_size=_MOST_SERVICES),
        _ask_facts(visit),
        load_figures(visit),
    )
    services, used = list(listed.services), snapshot.context["used"]
    return await visit.render(
        "merchant/overview.html",
        services=services,
        is_new=not any(service.status == ACTIVE for service in services),
        is_submitted=any(service.status in (PENDING_APPROVAL, ACTIVE) for service in services),
        active_count=sum(service.status == ACTIVE for service in services),
        pending=[service for service in services if service.status == PENDING_APPROVAL],
        undecided=[service for service in services if service.status in (REJECTED, DRAFT)],
        busiest=sorted(services, key=lambda service: -(used[service.service_id] or 0))[:_BUSIEST],
        events=events_of(services, *facts),
        etag=snapshot.etag,
        **snapshot.context,
    )


async def _ask_facts(
    visit: Visit,
) -> tuple[
    Iterable[catalog_pb.MarketplaceService], Iterable[registry_pb.Image], Iterable[billing_pb.Invoice]
]:
    """What is known of the merchant's services beside themselves: since when each is published, and the
    newest images and invoices."""
    assert visit.session.person is not None, "the page is for merchants"
    published, images, invoices = await asyncio.gather(
        visit.api.catalog.ListMarketplaceServices(
            page_size=_MOST_PUBLISHED, merchant_id=visit.session.person.user_id
        ),
        visit.or_none_if_down(visit.api.registry.ListImages(page_size=_NEWEST)),
        visit.or_none_if_down(visit.api.billing.ListMerchantInvoices(page_size=_NEWEST)),
    )
    return published.services, images.images if images else (), invoices.invoices if invoices else ()


async def load_figures(visit: Visit) -> LiveSnapshot:
    now = utc_now()
    report, (revenue, last_revenue) = await asyncio.gather(
        reports.ask_shown(visit, now, group_by=usage_pb.SERVICE), ask_revenues(visit, months_before(now, 2))
    )
    context = {
        "used": figures.by_group(report, now),
        "requests": figures.trend(report, now=now),
        "billable": figures.billable_trend(report, now),
        "revenue": revenue,
        "last_revenue": last_revenue,
        "revenue_change": revenue_change(revenue, last_revenue),
    }
    return LiveSnapshot(context, etag_of(visit, report, revenue, last_revenue))


async def ask_revenues(
    visit: Visit, periods: Sequence[str]
) -> Sequence[billing_pb.GetMerchantRevenueResponse | None]:
    """Of months, in one call; Nones when billing-svc can't be asked, on a page that goes on too: it has a
    place that says so."""
    request = billing_pb.BatchGetMerchantRevenueRequest(periods=periods)
    try:
        answer = await visit.ask_or_follow(
            WATCH_REVENUE, request, lambda: visit.api.billing.BatchGetMerchantRevenue(periods=periods)
        )
    except (UnavailableError, DeadlineExceededError):
        visit.is_degraded = True
        return [None] * len(periods)
    return answer.revenues


def revenue_change(
    revenue: billing_pb.GetMerchantRevenueResponse | None,
    before: billing_pb.GetMerchantRevenueResponse | None,
) -> float | None:
    """A fraction of the month before; None also where one of them isn't known."""
    if revenue is None or before is None:
        return None
    return figures.change_of_sums(
        [total.gross for total in revenue.totals], [total.gross for total in before.totals]
    )


VIEWS = (
    page("/merchant", show_overview, MERCHANT),
    live_view("/merchant", load_figures, "merchant/live.html", MERCHANT),
)
