"""Issuing invoices before the month is over, and the runs that make them, whoever has asked."""

from datetime import timedelta
from typing import Any

from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, MERCHANT, Role
from ams_common.clock import utc_now
from ams_common.errors import AppError, InvalidArgumentError
from starlette.responses import Response

from ams_bff.http.downloads import list_download
from ams_bff.http.routing import View, action, page
from ams_bff.http.visits import Visit
from ams_bff.live.snapshots import LiveSnapshot, etag_of, live_view
from ams_bff.ui.csv_files import Cells, cells
from ams_bff.ui.forms import Form
from ams_bff.views.invoices import PATHS, ask_invoices

_PAGE_SIZE = 25
# As many as one request may name.
_MOST_CHOICES = 100
_COLUMNS = ("created_at", "last_day", "status", "merchants", "merchants_done", "invoices", "finished_at")


async def show_issue(visit: Visit, form: Form | None = None) -> Response:
    """Whose usage isn't billed yet, and through which day it shall be. The URL can name a consumer, and for
    an admin a merchant: nobody else's is issued then."""
    consumer = visit.query.get("consumer", "").strip()
    form = form or Form.starting(
        last_day=f"{utc_now() - timedelta(days=1):%Y-%m-%d}", consumers=[consumer] if consumer else []
    )
    try:
        drafts = await ask_invoices(
            visit,
            _MOST_CHOICES,
            visit.url.page_token,
            status=pb.INVOICE_DRAFT,
            kind=pb.INVOICE,
            period="",
            order_by="",
            consumer=consumer,
        )
    except InvalidArgumentError:
        drafts = pb.ListInvoicesResponse()  # what was typed names nobody
    return await visit.render(
        "invoices/issue.html",
        form=form,
        drafts=drafts.invoices,
        next_token=drafts.next_page_token,
        consumer=consumer,
        path=PATHS[visit.role],
    )


async def issue(visit: Visit) -> Response:
    """In the background; its page tells how far it is."""
    form = visit.form
    try:
        if not form["last_day"]:
            form.refuse("last_day", "is required")
        # None chosen stands for everybody, whom a page about one consumer can't mean.
        if visit.query.get("consumer") and not form.all("consumers"):
            form.refuse("consumers", "has to be chosen")
        form.check()
        run = await visit.api.billing.IssueInvoices(
            last_day=form["last_day"],
            merchant_id=visit.query.get("merchant", "") if visit.role == ADMIN else "",
            consumers=list(dict.fromkeys(form.all("consumers"))),
            role=visit.role,
            idempotency_key=form["idempotency_key"],
        )
    except AppError as error:
        return await show_issue(visit, form.refused(error))
    return await visit.redirect(f"{PATHS[visit.role]}/runs/{run.invoice_run_id}")


async def list_runs(visit: Visit) -> Response:
    listed = await _ask(visit, _PAGE_SIZE, visit.url.page_token)
    return await visit.render(
        "invoices/runs.html",
        runs=listed.runs,
        next_token=listed.next_page_token,
        path=PATHS[visit.role],
    )


async def show_run(visit: Visit) -> Response:
    snapshot = await load_run(visit)
    return await visit.render("invoices/run.html", etag=snapshot.etag, **snapshot.context)


async def load_run(visit: Visit) -> LiveSnapshot:
    run = await visit.api.billing.GetInvoiceRun(invoice_run_id=visit.parameter("invoice_run_id"))
    context: dict[str, Any] = {
        "run": run,
        "path": PATHS[visit.role],
        "is_over": run.status in (pb.RUN_DONE, pb.RUN_INCOMPLETE),
    }
    return LiveSnapshot(context, etag_of(visit, run))


async def _ask(visit: Visit, size: int, page_token: str) -> pb.ListInvoiceRunsResponse:
    return await visit.api.billing.ListInvoiceRuns(page_size=size, page_token=page_token)


async def _rows(visit: Visit, listed: pb.ListInvoiceRunsResponse) -> list[Cells]:
    return [cells(run, *_COLUMNS) for run in listed.runs]


def _views_of(role: Role.ValueType) -> tuple[View, ...]:
    path = PATHS[role]
    return (
        page(f"{path}/issue", show_issue, role),
        action(f"{path}/issue", issue, role),
        page(f"{path}/runs", list_runs, role),
        list_download(f"{path}/runs", "invoice-runs", _COLUMNS, _ask, _rows, role),
        page(f"{path}/runs/{{invoice_run_id}}", show_run, role),
        live_view(f"{path}/runs/{{invoice_run_id}}", load_run, "invoices/run_live.html", role),
    )


VIEWS = (*_views_of(MERCHANT), *_views_of(ADMIN))
