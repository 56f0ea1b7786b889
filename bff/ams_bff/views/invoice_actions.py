"""What a merchant, or an admin, does with an issued invoice. Each is asked for in a dialog of its page."""

import re
from decimal import Decimal

from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, MERCHANT, Role
from ams_common.errors import AppError
from ams_common.money import to_money
from starlette.responses import Response

from ams_bff.http.routing import View, action
from ams_bff.http.visits import Visit
from ams_bff.ui.formats import money
from ams_bff.ui.forms import Form
from ams_bff.views.invoices import PATHS, load_invoice, show_invoice

_AMOUNT = re.compile(r"\d{1,12}(?:[.,]\d{1,9})?")


async def mark_paid(visit: Visit) -> Response:
    invoice = await load_invoice(visit)
    try:
        await visit.api.billing.MarkInvoicePaid(invoice_id=invoice.invoice_id)
    except AppError as error:
        return await show_invoice(visit, visit.form.refused(error))
    return await visit.redirect(_path(visit, invoice), f"{invoice.number} is paid.")


async def send(visit: Visit) -> Response:
    invoice = await load_invoice(visit)
    try:
        await visit.api.billing.SendInvoice(invoice_id=invoice.invoice_id)
    except AppError as error:
        return await show_invoice(visit, visit.form.refused(error))
    return await visit.redirect(_path(visit, invoice), f"{invoice.number} is sent to its consumer.")


async def void(visit: Visit) -> Response:
    """Asks for the number: it can't be undone."""
    invoice, form = await load_invoice(visit), visit.form
    try:
        if form["confirm"] != invoice.number:
            form.refuse("confirm", f"must be “{invoice.number}”")
        _require_reason(form)
        form.check()
        await visit.api.billing.VoidInvoice(invoice_id=invoice.invoice_id, reason=form["reason"])
    except AppError as error:
        return await show_invoice(visit, form.refused(error))
    return await visit.redirect(
        _path(visit, invoice), f"{invoice.number} is void. Its usage can be billed anew."
    )


async def credit(visit: Visit) -> Response:
    """Leads to the credit note."""
    invoice, form = await load_invoice(visit), visit.form
    try:
        if not _AMOUNT.fullmatch(form["amount"]):
            form.refuse("amount", "must be a number such as 12.50")
        _require_reason(form)
        form.check()
        amount = Decimal(form["amount"].replace(",", "."))
        note = await visit.api.billing.CreateCreditNote(
            invoice_id=invoice.invoice_id,
            amount=to_money(amount, invoice.subtotal.currency_code),
            reason=form["reason"],
            idempotency_key=form["idempotency_key"],
        )
    except AppError as error:
        return await show_invoice(visit, form.refused(error))
    credited = to_money(amount, invoice.subtotal.currency_code)
    return await visit.redirect(
        _path(visit, note), f"{money(credited)} of {invoice.number} is credited by {note.number}."
    )


def _require_reason(form: Form) -> None:
    if not form["reason"]:
        form.refuse("reason", "is required: the consumer reads it")


def _path(visit: Visit, invoice: pb.Invoice) -> str:
    return f"{PATHS[visit.role]}/{invoice.invoice_id}"


def _views_of(role: Role.ValueType) -> tuple[View, ...]:
    path = f"{PATHS[role]}/{{invoice_id}}"
    return (
        action(f"{path}/paid", mark_paid, role),
        action(f"{path}/send", send, role),
        action(f"{path}/void", void, role),
        action(f"{path}/credit", credit, role),
    )


VIEWS = (*_views_of(MERCHANT), *_views_of(ADMIN))
