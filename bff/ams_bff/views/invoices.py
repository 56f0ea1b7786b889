"""Invoices of a month: a merchant's own, and a consumer's."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER, MERCHANT, Role
from ams_common.clock import utc_now
from ams_common.errors import AppError
from ams_common.money import to_decimal
from starlette.responses import Response

from ams_bff.http.downloads import list_download
from ams_bff.http.routing import View, action, page
from ams_bff.http.sessions import Flash
from ams_bff.http.visits import Visit
from ams_bff.ui.csv_files import Cells, cells, csv_file
from ams_bff.ui.formats import counted, month
from ams_bff.ui.forms import Form
from ams_bff.views.naming import Known, know_services

_PAGE_SIZE = 50
_SORTS = ("period", "status", "total")
_COLUMNS = ("period", "other_party", "status", "currency", "subtotal", "commission", "total", "invoice_id")
_LINE_COLUMNS = ("service", "requests", "price_each", "amount", "currency", "service_id")
# How far back a month may be chosen.
_MONTHS = 24
_MERCHANT_LIST, _CONSUMER_LIST = "/merchant/invoices", "/dashboard/invoices"


async def list_invoices(visit: Visit, form: Form | None = None) -> Response:
    """The newest first, of one month when the URL says so."""
    answer = await _ask(visit, _PAGE_SIZE, visit.url.page_token)
    known = await _issuers(visit, answer.invoices)
    return await visit.render(
        "invoices/list.html",
        invoices=answer.invoices,
        issuers={invoice.invoice_id: issuer_of(known, invoice) for invoice in answer.invoices},
        next_token=answer.next_page_token,
        months=_months(),
        form=form or Form.starting(period=_months()[0]),
        **_place(visit),
    )


async def generate_drafts(visit: Visit) -> Response:
    """Makes the merchant's drafts of a month, or brings them up to date."""
    form = visit.form
    try:
        answer = await visit.api.billing.GenerateInvoices(period=form["period"])
    except AppError as error:
        return await list_invoices(visit, form.refused(error))
    if not answer.invoices:
        message = f"Nobody owes anything for {month(form['period'])} yet, so there is no draft."
        return await visit.redirect(_MERCHANT_LIST, Flash(message, "plain"))
    made = counted(len(answer.invoices), "draft")
    return await visit.redirect(
        f"{_MERCHANT_LIST}?period={form['period']}", f"{made} of {month(form['period'])}: up to date."
    )


async def download_lines(visit: Visit) -> Response:
    invoice = await _load(visit)
    lines = [
        (
            line.service_name,
            line.quantity,
            f"{to_decimal(line.unit_price).normalize():f}",
            f"{to_decimal(line.amount):f}",
            line.amount.currency_code,
            line.service_id,
        )
        for line in invoice.lines
    ]
    return csv_file(f"invoice-{invoice.period}", _LINE_COLUMNS, lines)


async def _rows(visit: Visit, answer: Any) -> list[Cells]:
    known = await _issuers(visit, answer.invoices)
    return [
        [
            invoice.period,
            invoice.consumer_pseudonym if visit.role == MERCHANT else issuer_of(known, invoice),
            *cells(invoice, "status"),
            invoice.subtotal.currency_code,
            *(f"{to_decimal(each):f}" for each in (invoice.subtotal, invoice.commission, invoice.total)),
            invoice.invoice_id,
        ]
        for invoice in answer.invoices
    ]


async def show_invoice(visit: Visit) -> Response:
    invoice = await _load(visit)
    known = await _issuers(visit, [invoice])
    return await visit.render(
        "invoices/show.html", invoice=invoice, issuer=issuer_of(known, invoice), **_place(visit)
    )


async def _load(visit: Visit) -> pb.Invoice:
    return await visit.api.billing.GetInvoice(invoice_id=visit.parameter("invoice_id"))


async def _ask(visit: Visit, size: int, page_token: str) -> Any:
    fields: dict[str, Any] = {
        "page_size": size,
        "page_token": page_token,
        "period": visit.query.get("period", ""),
        "order_by": visit.url.order_by(_SORTS),
    }
    if visit.role == MERCHANT:
        return await visit.api.billing.ListMerchantInvoices(**fields)
    return await visit.api.billing.ListConsumerInvoices(**fields)


async def _issuers(visit: Visit, invoices: Sequence[pb.Invoice]) -> Known:
    """Services by which a consumer knows whose an invoice is."""
    if visit.role != CONSUMER:
        return {}
    return await know_services(visit, (line.service_id for each in invoices for line in each.lines[:3]))


def issuer_of(known: Known, invoice: pb.Invoice) -> str:
    """The merchant's name, as the marketplace has it; its services' names when it has none (any more)."""
    names = [known[line.service_id].merchant_name for line in invoice.lines if line.service_id in known]
    return names[0] if names else ", ".join(line.service_name for line in invoice.lines[:3])


def _months() -> list[str]:
    first, months = utc_now().replace(day=1), []
    for _ in range(_MONTHS):
        months.append(first.strftime("%Y-%m"))
        first = (first - timedelta(days=1)).replace(day=1)
    return months


def _place(visit: Visit) -> dict[str, Any]:
    is_merchants = visit.role == MERCHANT
    return {"path": _MERCHANT_LIST if is_merchants else _CONSUMER_LIST, "is_merchants": is_merchants}


def _views_of(path: str, role: Role.ValueType) -> tuple[View, ...]:
    return (
        page(path, list_invoices, role),
        list_download(path, "invoices", _COLUMNS, _ask, _rows, role),
        page(f"{path}/{{invoice_id}}", show_invoice, role),
        page(f"{path}/{{invoice_id}}/table.csv", download_lines, role),
    )


VIEWS = (
    *_views_of(_MERCHANT_LIST, MERCHANT),
    *_views_of(_CONSUMER_LIST, CONSUMER),
    action(f"{_MERCHANT_LIST}/generate", generate_drafts, MERCHANT),
)
