"""All services, and the review of one."""

import asyncio

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN
from starlette.responses import Response

from ams_bff.http.downloads import list_download
from ams_bff.http.routing import page
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.usage import figures, reports
from ams_bff.views.admin_access import load_policy
from ams_bff.views.admin_queue import images_of
from ams_bff.views.admin_records import actor_names, audit_of
from ams_bff.views.service_lists import SERVICE_COLUMNS, list_fields, service_rows

_PAGE_SIZE = 25


async def list_services(visit: Visit) -> Response:
    listed = await _ask(visit, _PAGE_SIZE, visit.url.page_token)
    return await visit.render(
        "admin/services.html", services=listed.services, next_token=listed.next_page_token
    )


async def show_service(visit: Visit, form: Form | None = None) -> Response:
    """With the decision as far as it was typed."""
    service_id = visit.parameter("service_id")
    service = await visit.api.catalog.GetService(service_id=service_id)
    merchant, report, images, records, names, merchant_approves = await asyncio.gather(
        visit.api.identity.GetMerchant(merchant_id=service.merchant_id),
        reports.ask_shown(visit, service_id=service_id),
        images_of(visit, service),
        audit_of(visit, service_id),
        actor_names(visit),
        load_policy(visit, service_id),
    )
    return await visit.render(
        "admin/service.html",
        merchant_approves=merchant_approves,
        form=form or Form(),
        service=service,
        merchant=merchant,
        requests=figures.trend(report),
        images=images,
        records=records,
        names=names,
    )


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListServicesResponse:
    return await visit.api.catalog.ListServices(**list_fields(visit, size, page_token))


VIEWS = (
    page("/admin/services", list_services, ADMIN),
    list_download("/admin/services", "services", SERVICE_COLUMNS, _ask, service_rows, ADMIN),
    page("/admin/services/{service_id}", show_service, ADMIN),
)
