"""Reports of usage: asked for, made in the background, kept to download; alike for all roles."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from urllib.parse import quote

from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import report_service_pb2 as pb
from ams_common.clock import utc_now
from ams_common.errors import AppError, NotFoundError
from starlette.responses import Response, StreamingResponse

from ams_bff.http.routing import View, action, page
from ams_bff.http.visits import Visit
from ams_bff.live.snapshots import LiveSnapshot, etag_of, live_view
from ams_bff.ui.forms import Form
from ams_bff.views.project_names import project_choices
from ams_bff.views.usage_names import Choice, labels_of, service_choices

PATHS = {CONSUMER: "/dashboard/reports", MERCHANT: "/merchant/reports", ADMIN: "/admin/reports"}
_PAGE_SIZE = 25
FORMATS = {
    "CSV": ("CSV", "for spreadsheets", "text/csv; charset=utf-8"),
    "JSON_LINES": ("JSON Lines", "for programs", "application/jsonl"),
    "PARQUET": ("Parquet", "for data tools", "application/vnd.apache.parquet"),
    "PDF": ("PDF", "to read and to send", "application/pdf"),
}
DETAILS = {
    "BY_DAY": ("By day", "a row for each service, key and status, with what it cost"),
    "BY_HOUR": ("By hour", "the same, for each hour"),
    "CALLS": ("Single calls", "of days whose calls are kept; without spend, not as PDF"),
}
_UNDER_WAY = (pb.QUEUED, pb.RUNNING)


async def list_reports(visit: Visit) -> Response:
    snapshot = await load_reports(visit)
    return await visit.render("reports/list.html", etag=snapshot.etag, **snapshot.context)


async def load_reports(visit: Visit) -> LiveSnapshot:
    """The list, which goes on by itself while something is being made."""
    listed = await visit.api.reports.ListReports(
        page_size=_PAGE_SIZE, page_token=visit.url.page_token, role=visit.role
    )
    services, consumers, projects = await asyncio.gather(
        labels_of(visit, "service", (each.service_id for each in listed.reports)),
        labels_of(visit, "consumer", (each.consumer for each in listed.reports)),
        labels_of(visit, "project", (each.project_id for each in listed.reports)),
    )
    context = {
        "path": PATHS[visit.role],
        "reports": listed.reports,
        "next_token": listed.next_page_token,
        "services": services,
        "consumers": consumers,
        "projects": projects,
        "formats": FORMATS,
        "details": DETAILS,
        "pb": pb,
        "is_under_way": any(each.status in _UNDER_WAY for each in listed.reports),
    }
    return LiveSnapshot(context, etag_of(visit, listed))


async def show_new(visit: Visit, form: Form | None = None) -> Response:
    """Of last month, and of what the URL names."""
    today = utc_now().date()
    last = today.replace(day=1) - timedelta(days=1)
    start = Form.starting(
        first_day=last.replace(day=1).isoformat(),
        last_day=last.isoformat(),
        service_id=visit.query.get("service", ""),
        project_id=visit.query.get("project", ""),
        consumer=visit.query.get("consumer", ""),
        format="CSV",
        detail="BY_DAY",
    )
    choices: Sequence[Choice] = await visit.or_none_if_down(service_choices(visit)) or []
    return await visit.render(
        "reports/new.html",
        form=form or start,
        path=PATHS[visit.role],
        services=[("", "All services"), *choices],
        projects=await project_choices(visit),
        formats=[(name, *words[:2]) for name, words in FORMATS.items()],
        details=[(name, *words) for name, words in DETAILS.items()],
    )


async def create_report(visit: Visit) -> Response:
    form = visit.form
    try:
        for name in ("first_day", "last_day"):
            if not form[name]:
                form.refuse(name, "is required")
        if form["format"] not in FORMATS:
            form.refuse("format", "is required")
        if form["detail"] not in DETAILS:
            form.refuse("detail", "is required")
        form.check()
        await visit.api.reports.CreateReport(
            first_day=form["first_day"],
            last_day=form["last_day"],
            service_id=form["service_id"],
            consumer=form["consumer"],
            project_id=form["project_id"],
            format=pb.ReportFormat.Value(form["format"]),
            detail=pb.ReportDetail.Value(form["detail"]),
            idempotency_key=form["idempotency_key"],
            role=visit.role,
        )
    except NotFoundError as error:
        if error.code == "project_not_found":
            form.refuse("project_id", "is none of yours")
        else:
            form.refuse("consumer", "is called like none of yours")
        return await show_new(visit, form)
    except AppError as error:
        return await show_new(visit, form.refused(error))
    return await visit.redirect(PATHS[visit.role], "The report is being made. It appears here.")


async def download_report(visit: Visit) -> Response:
    """The file, part by part. Raises AppError when there is none yet, or none any more."""
    report = await visit.api.reports.GetReport(report_id=visit.parameter("report_id"))
    first = await visit.api.reports.ReadReport(report_id=report.report_id)
    headers = {
        "content-disposition": f"attachment; filename*=utf-8''{quote(report.file_name, safe='')}",
        "content-length": str(first.size_bytes),
    }
    media_type = FORMATS[pb.ReportFormat.Name(report.format)][2]
    return StreamingResponse(_parts(visit, report.report_id, first), media_type=media_type, headers=headers)


async def _parts(visit: Visit, report_id: str, first: pb.ReadReportResponse) -> AsyncIterator[bytes]:
    part, sent_bytes = first, 0
    while part.content:
        yield part.content
        sent_bytes += len(part.content)
        if sent_bytes >= part.size_bytes:
            return
        part = await visit.api.reports.ReadReport(report_id=report_id, offset=sent_bytes)


async def share_report(visit: Visit) -> Response:
    """The consumer sees it among their own, and AMS sends them a mail."""
    await visit.api.reports.ShareReport(report_id=visit.parameter("report_id"))
    return await visit.redirect(
        PATHS[visit.role], "The report is shared. AMS tells the consumer by mail, and you nothing of them."
    )


async def delete_report(visit: Visit) -> Response:
    await visit.api.reports.DeleteReport(report_id=visit.parameter("report_id"))
    return await visit.redirect(PATHS[visit.role], "The report is deleted.")


def _views_of(role: Role.ValueType) -> tuple[View, ...]:
    path = PATHS[role]
    views = (
        page(path, list_reports, role),
        live_view(path, load_reports, "reports/live.html", role),
        page(f"{path}/new", show_new, role),
        action(path, create_report, role),
        page(f"{path}/{{report_id}}/file", download_report, role),
        action(f"{path}/{{report_id}}/delete", delete_report, role),
    )
    shared = (action(f"{path}/{{report_id}}/share", share_report, role),) if role == MERCHANT else ()
    return (*views, *shared)


VIEWS = (*_views_of(CONSUMER), *_views_of(MERCHANT), *_views_of(ADMIN))
