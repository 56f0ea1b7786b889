"""All services, and the review of one."""

import asyncio

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.errors import AppError
from starlette.responses import Response

from ams_bff.http.downloads import list_download
from ams_bff.http.routing import action, page
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form
from ams_bff.usage import figures, reports
from ams_bff.views.admin_access import load_policy
from ams_bff.views.admin_queue import newest_images
from ams_bff.views.admin_records import audit_of
from ams_bff.views.effects import effect_flash
from ams_bff.views.service_lists import SERVICE_COLUMNS, list_fields, service_rows

_PAGE_SIZE = 25
_SHOWN_REVISIONS = 10


async def list_services(visit: Visit) -> Response:
    listed = await _ask(visit, _PAGE_SIZE, visit.url.page_token)
    return await visit.render(
        "admin/services.html", services=listed.services, next_token=listed.next_page_token
    )


async def show_service(visit: Visit, form: Form | None = None) -> Response:
    """With the decision as far as it was typed."""
    service_id = visit.parameter("service_id")
    service = await visit.api.catalog.GetService(service_id=service_id)
    merchant, report, images, (records, names), merchant_approves, revisions = await asyncio.gather(
        visit.api.identity.GetMerchant(merchant_id=service.merchant_id),
        reports.ask_shown(visit, service_id=service_id),
        newest_images(visit, [service]),
        audit_of(visit, service_id),
        load_policy(visit, service_id),
        visit.api.revisions.ListServiceRevisions(service_id=service_id, page_size=_SHOWN_REVISIONS),
    )
    return await visit.render(
        "admin/service.html",
        merchant_approves=merchant_approves,
        form=form or Form(),
        service=service,
        merchant=merchant,
        requests=figures.trend(report),
        images=images[service_id],
        records=records,
        names=names,
        revisions=revisions.revisions,
    )


async def suspend_service(visit: Visit) -> Response:
    """With a reason, which the merchant reads."""
    form, service_id = visit.form, visit.parameter("service_id")
    try:
        if not form["reason"]:
            form.refuse("reason", "is required: the merchant reads it")
        form.check()
        service = await visit.api.lifecycle.SuspendService(service_id=service_id, reason=form["reason"])
    except AppError as error:
        return await show_service(visit, form.refused(error))
    flash = effect_flash(f"{service.name} is suspended.", service, visit.zone)
    return await visit.redirect(f"/admin/services/{service_id}", flash)


async def reinstate_service(visit: Visit) -> Response:
    service_id = visit.parameter("service_id")
    try:
        service = await visit.api.lifecycle.ReinstateService(service_id=service_id)
    except AppError as error:
        return await show_service(visit, visit.form.refused(error))
    return await visit.redirect(
        f"/admin/services/{service_id}", f"{service.name} is back in the marketplace."
    )


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListServicesResponse:
    return await visit.api.catalog.ListServices(**list_fields(visit, size, page_token))


VIEWS = (
    page("/admin/services", list_services, ADMIN),
    list_download("/admin/services", "services", SERVICE_COLUMNS, _ask, service_rows, ADMIN),
    page("/admin/services/{service_id}", show_service, ADMIN),
    action("/admin/services/{service_id}/suspend", suspend_service, ADMIN),
    action("/admin/services/{service_id}/reinstate", reinstate_service, ADMIN),
)
