"""The RPCs that change what becomes of an issued invoice."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common import topics
from ams_common.clock import Clock, utc_now
from ams_common.context import current_caller, current_user_id
from ams_common.database import Change, Database
from ams_common.errors import FailedPreconditionError, FieldViolation, InvalidArgumentError, NotFoundError
from ams_common.field_changes import field_change
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.money import to_decimal
from ams_common.pseudonyms import Pseudonyms
from ams_rating.currencies import round_to_minor_unit
from google.type.money_pb2 import Money

from billing_svc.invoices import Invoice
from billing_svc.issuing import credit, invoice_notification, void
from billing_svc.messages import Audience, invoice_message
from billing_svc.store import Store

_UNPAID = ("issued", "overdue")


@dataclass(kw_only=True, eq=False)
class CorrectionRpcs:
    database: Database[Store]
    pseudonyms: Pseudonyms
    clock: Clock = utc_now

    async def MarkInvoicePaid(self, request: pb.MarkInvoicePaidRequest, context: Context) -> pb.Invoice:
        now = self.clock()
        async with self.database.change() as change:
            invoice = await _lock(change, request.invoice_id)
            _require_status(invoice, *_UNPAID)
            if invoice.is_nothing_due:
                raise _nothing_due()
            await change.store.set_status(invoice_id=invoice.invoice_id, status="paid", paid_at=now, now=now)
            changes = [field_change("status", invoice.status, "paid")]
            change.audit("invoice", invoice.invoice_id, changes, number=invoice.number)
            return self._message(await _find(change, invoice.invoice_id))

    async def VoidInvoice(self, request: pb.VoidInvoiceRequest, context: Context) -> pb.Invoice:
        async with self.database.change() as change:
            invoice = await _lock(change, request.invoice_id)
            _require_status(invoice, *_UNPAID)
            # Its usage would be billed anew at nothing again.
            if not invoice.subtotal:
                raise _nothing_due()
            await void(change, invoice, request.reason, self.clock())
            changes = [field_change("status", invoice.status, "void")]
            change.audit("invoice", invoice.invoice_id, changes, number=invoice.number, reason=request.reason)
            return self._message(await _find(change, invoice.invoice_id))

    async def CreateCreditNote(self, request: pb.CreateCreditNoteRequest, context: Context) -> pb.Invoice:
        async with self.database.change() as change:
            if (done := await change.replay(request, pb.Invoice)) is not None:
                return done
            invoice = await _lock(change, request.invoice_id)
            _require_status(invoice, *_UNPAID, "paid")
            amount = _amount(request.amount, invoice.currency)
            note = await credit(change, invoice, amount, request.reason, self.clock())
            change.audit(
                "invoice",
                invoice.invoice_id,
                credit_note=note.number,
                amount=f"{invoice.currency} {amount}",
                reason=request.reason,
            )
            answer = self._message(note)
            await change.remember(request, answer)
        return answer

    async def SendInvoice(self, request: pb.SendInvoiceRequest, context: Context) -> pb.Invoice:
        now = self.clock()
        async with self.database.change() as change:
            invoice = await _lock(change, request.invoice_id)
            _require_status(invoice, *_UNPAID, "paid", "void")
            if not invoice.subtotal:
                raise _nothing_due()
            await change.store.set_sent(invoice_id=invoice.invoice_id, now=now)
            # An id of its own: told before or not, it is told again.
            notification = invoice_notification(invoice, f"invoice-sent/{uuid7()}", now)
            change.publish(topics.NOTIFICATIONS, str(invoice.consumer_id), notification)
            change.audit("invoice", invoice.invoice_id, number=invoice.number)
            return self._message(await _find(change, invoice.invoice_id))

    def _message(self, invoice: Invoice) -> pb.Invoice:
        audience = Audience.ADMIN if ADMIN in current_caller().roles else Audience.MERCHANT
        return invoice_message(invoice, audience, self.pseudonyms)


async def _lock(change: Change[Store], invoice_id: str) -> Invoice:
    """The caller's invoice, or any for an admin, while nobody else makes or corrects its merchant's."""
    invoice = await _find(change, UUID(invoice_id))
    await change.store.lock_merchant(merchant_id=invoice.merchant_id)
    # Once more: somebody may have been faster.
    return await _find(change, invoice.invoice_id)


async def _find(change: Change[Store], invoice_id: UUID) -> Invoice:
    is_admin = ADMIN in current_caller().roles
    invoice = await change.store.find_invoice(
        invoice_id=invoice_id,
        is_admin=is_admin,
        merchant_id=None if is_admin else current_user_id(),
        consumer_id=None,
    )
    if invoice is None:
        raise NotFoundError("invoice_not_found", "There is no such invoice.")
    return invoice


def _require_status(invoice: Invoice, *statuses: str) -> None:
    if invoice.kind != "invoice":
        raise FailedPreconditionError("not_an_invoice", "That can't be done with a credit note.")
    if invoice.status not in statuses:
        raise FailedPreconditionError(
            "invoice_status_wrong",
            f"That can't be done with an invoice that is {invoice.status}.",
            status=invoice.status,
        )


def _nothing_due() -> FailedPreconditionError:
    return FailedPreconditionError("nothing_due", "Nothing is to be paid of this invoice.")


def _amount(money: Money, currency: str) -> Decimal:
    try:
        amount = to_decimal(money)
    except ValueError as error:
        raise _invalid_amount(str(error)) from None
    if money.currency_code not in ("", currency):
        raise _invalid_amount("must be in the invoice's currency")
    if amount <= 0 or amount != round_to_minor_unit(amount, currency):
        raise _invalid_amount("must be above zero, in whole minor units of the currency")
    return amount


def _invalid_amount(description: str) -> InvalidArgumentError:
    violation = FieldViolation("amount", description)
    return InvalidArgumentError("amount_invalid", f"amount {description}.", [violation])
