"""Invoices as their merchant, their consumer and the admins see them: lists, one, and its files."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams_common.clock import utc_now
from ams_common.errors import NotFoundError
from ams_common.money import to_decimal, to_money
from starlette.responses import Response, StreamingResponse

from ams_bff.http.downloads import list_download
from ams_bff.http.routing import View, page
from ams_bff.http.visits import Visit
from ams_bff.ui.csv_files import Cells, cells
from ams_bff.ui.forms import Form
from ams_bff.ui.periods import months_before

PATHS = {CONSUMER: "/dashboard/invoices", MERCHANT: "/merchant/invoices", ADMIN: "/admin/invoices"}
_PAGE_SIZE = 50
_SORTS = ("last_day", "total")
# How far back a month may be chosen.
_MONTHS = 24
_STATUSES = {
    "draft": pb.INVOICE_DRAFT,
    "issued": pb.INVOICE_ISSUED,
    "overdue": pb.INVOICE_OVERDUE,
    "paid": pb.INVOICE_PAID,
    "void": pb.INVOICE_VOID,
}
_KINDS = {"invoice": pb.INVOICE, "credit-note": pb.CREDIT_NOTE}
_FORMATS = {"pdf": pb.DOCUMENT_PDF, "html": pb.DOCUMENT_HTML, "csv": pb.DOCUMENT_CSV}
_SHARED = ("number", "kind", "status", "first_day", "last_day", "due_on", "issued_at", "currency", "subtotal")
_COLUMNS = {
    CONSUMER: (*_SHARED, "credited", "merchant", "invoice_id"),
    MERCHANT: (*_SHARED, "credited", "commission", "total", "consumer", "invoice_id"),
    ADMIN: (*_SHARED, "credited", "commission", "total", "merchant", "consumer", "invoice_id"),
}


async def list_invoices(visit: Visit) -> Response:
    """The newest first, of those that the URL asks for; a consumer's with what runs up until the next."""
    listed, spend = await asyncio.gather(ask_invoices(visit, _PAGE_SIZE, visit.url.page_token), _spend(visit))
    statuses = [name for name in _STATUSES if visit.role != CONSUMER or name != "draft"]
    return await visit.render(
        "invoices/list.html",
        invoices=listed.invoices,
        next_token=listed.next_page_token,
        months=months_before(utc_now(), _MONTHS),
        statuses=[("", "All"), *((name, name.capitalize()) for name in statuses)],
        path=PATHS[visit.role],
        spend=spend,
    )


async def show_invoice(visit: Visit, form: Form | None = None) -> Response:
    """`form`: what was refused of an action that was taken on it."""
    invoice = await load_invoice(visit)
    return await visit.render(
        "invoices/show.html",
        form=form or Form(),
        invoice=invoice,
        path=PATHS[visit.role],
        events=events_of(invoice),
        may_act=visit.role != CONSUMER and invoice.kind == pb.INVOICE,
        is_unpaid=invoice.status in (pb.INVOICE_ISSUED, pb.INVOICE_OVERDUE) and not invoice.is_nothing_due,
        creditable=to_money(
            to_decimal(invoice.subtotal) - to_decimal(invoice.credited), invoice.subtotal.currency_code
        ),
    )


async def download_document(visit: Visit) -> Response:
    """The invoice as PDF, HTML or CSV. It holds strangers' texts: browsers keep it and don't show it."""
    wanted = _FORMATS.get(visit.parameter("format"))
    if wanted is None:
        raise NotFoundError("format_unknown", "There is no such file.")
    document = await visit.api.billing.GetInvoiceDocument(
        invoice_id=visit.parameter("invoice_id"), format=wanted
    )
    return Response(document.content, media_type=document.media_type, headers=_attachment(document.file_name))


async def download_proof(visit: Visit) -> Response:
    """What `ams-verify` reads, each part asked for while those before it are being sent. Raises AppError when
    the first can't be had; a later failure breaks the download off."""
    invoice_id = visit.parameter("invoice_id")

    async def ask(token: str) -> pb.InvoiceProof:
        return await visit.api.billing.GetInvoiceProof(invoice_id=invoice_id, page_token=token)

    async def parts(part: pb.InvoiceProof) -> AsyncIterator[bytes]:
        yield part.content
        while part.next_page_token:
            part = await ask(part.next_page_token)
            yield part.content

    first = await ask("")
    headers = _attachment(f"invoice-{invoice_id}.jsonl")
    return StreamingResponse(parts(first), media_type="application/jsonl", headers=headers)


async def load_invoice(visit: Visit) -> pb.Invoice:
    """Raises NotFoundError also for one that isn't the area's role's: an account may hold several."""
    invoice = await visit.api.billing.GetInvoice(invoice_id=visit.parameter("invoice_id"))
    person = visit.session.person
    owner = {MERCHANT: invoice.merchant_id, CONSUMER: invoice.consumer_id}.get(visit.role)
    if visit.role == CONSUMER and invoice.status == pb.INVOICE_DRAFT:
        owner = None
    if visit.role != ADMIN and (person is None or owner != person.user_id):
        raise NotFoundError("invoice_not_found", "There is no such invoice.")
    return invoice


async def ask_invoices(visit: Visit, size: int, page_token: str, **fields: Any) -> pb.ListInvoicesResponse:
    """As the URL wants them; `fields` of the request instead, where they are given."""
    wanted: dict[str, Any] = {
        "period": visit.query.get("period", ""),
        "status": _STATUSES.get(visit.query.get("status", ""), pb.INVOICE_STATUS_UNSPECIFIED),
        "kind": _KINDS.get(visit.query.get("kind", ""), pb.INVOICE_KIND_UNSPECIFIED),
        "merchant_id": visit.query.get("merchant", ""),
        "consumer": visit.query.get("consumer", ""),
        "order_by": visit.url.order_by(_SORTS),
    } | fields
    billing = visit.api.billing
    match visit.role:
        case Role.ADMIN:
            return await billing.ListInvoices(page_size=size, page_token=page_token, **wanted)
        case Role.MERCHANT:
            return await billing.ListMerchantInvoices(page_size=size, page_token=page_token, **wanted)
        case _:
            return await billing.ListConsumerInvoices(page_size=size, page_token=page_token, **wanted)


async def _spend(visit: Visit) -> pb.GetConsumerSpendResponse | None:
    """What no invoice has yet, for a consumer."""
    if visit.role != CONSUMER:
        return None
    return await visit.or_none_if_down(visit.api.billing.GetConsumerSpend())


def events_of(invoice: pb.Invoice) -> list[tuple[str, str, Any, str]]:
    """The invoice's life, the newest first, for ui.timeline: title, text, when and kind."""
    dated = [
        ("Issued", invoice.number, invoice.issued_at, "info"),
        ("Sent", "by mail, to its consumer", invoice.sent_at, "plain"),
        ("Paid", "", invoice.paid_at, "good"),
    ]
    events = [event for event in dated if event[2].seconds]
    if invoice.status == pb.INVOICE_VOID:
        events.append(("Void", "taken back as a whole", invoice.updated_at, "bad"))
    if invoice.status == pb.INVOICE_DRAFT:
        events.append(("Draft", "follows usage until it is issued", invoice.updated_at, "plain"))
    return sorted(events, key=lambda event: -event[2].seconds)


async def _rows(visit: Visit, listed: pb.ListInvoicesResponse) -> list[Cells]:
    return [_row(visit.role, invoice) for invoice in listed.invoices]


def _row(role: Role.ValueType, invoice: pb.Invoice) -> Cells:
    row = {
        "currency": invoice.subtotal.currency_code,
        **_exact(invoice, ("subtotal", "credited", "commission", "total")),
        "merchant": invoice.merchant_name,
        "consumer": invoice.consumer_pseudonym,
    }
    own = [name for name in _COLUMNS[role] if name not in row]
    row |= dict(zip(own, map(str, cells(invoice, *own)), strict=True))
    return [row[name] for name in _COLUMNS[role]]


def _exact(invoice: pb.Invoice, names: Iterable[str]) -> dict[str, str]:
    return {name: f"{to_decimal(getattr(invoice, name)):f}" for name in names}


def _attachment(name: str) -> dict[str, str]:
    plain = "".join(letter for letter in name if letter.isascii() and (letter.isalnum() or letter in "-_."))
    return {"content-disposition": f'attachment; filename="{plain}"'}


def _views_of(role: Role.ValueType) -> tuple[View, ...]:
    path = PATHS[role]
    return (
        page(path, list_invoices, role),
        list_download(path, "invoices", _COLUMNS[role], ask_invoices, _rows, role),
        page(f"{path}/{{invoice_id}}", show_invoice, role),
        page(f"{path}/{{invoice_id}}/document/{{format}}", download_document, role),
        page(f"{path}/{{invoice_id}}/proof", download_proof, role),
    )


VIEWS = (*_views_of(CONSUMER), *_views_of(MERCHANT), *_views_of(ADMIN))
