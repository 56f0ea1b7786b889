"""The RPCs that show invoices."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams_common.clock import Clock, utc_now
from ams_common.context import current_caller, current_user_id
from ams_common.database import Database
from ams_common.errors import FieldViolation, InvalidArgumentError, NotFoundError, PermissionDeniedError
from ams_common.interceptors import Context
from ams_common.paging import page_request
from ams_common.pseudonyms import Pseudonyms

from billing_svc.documents.content import not_charged
from billing_svc.documents.store import DocumentStore
from billing_svc.invoice_store import InvoiceFilter
from billing_svc.invoices import Invoice
from billing_svc.messages import KINDS, STATUSES, Audience, invoice_message, total_message
from billing_svc.proofs.store import ProofStore
from billing_svc.runs import begins_of
from billing_svc.store import Store

# A statement's answer holds at most so many invoices; its totals are of all.
_STATEMENT_LIMIT = 5000
_STATUS_WORDS = {value: word for word, value in STATUSES.items()}
_KIND_WORDS = {value: word for word, value in KINDS.items()}


@dataclass(kw_only=True, eq=False)
class InvoiceRpcs:
    database: Database[Store]
    pseudonyms: Pseudonyms
    clock: Clock = utc_now

    async def ListInvoices(
        self, request: pb.ListInvoicesRequest, context: Context
    ) -> pb.ListInvoicesResponse:
        wanted, which = page_request(request), _filter(request)
        consumer_id = _consumer_id(request.consumer) if request.consumer else None
        async with self.database.read() as store:
            if request.merchant_id:
                page = await store.list_merchant_invoices(
                    wanted,
                    which,
                    merchant_id=UUID(request.merchant_id),
                    consumer_ids=[consumer_id] if consumer_id else None,
                )
            else:
                page = await store.list_invoices(wanted, which, consumer_id=consumer_id)
        return self._list(page.rows, page.next_token, Audience.ADMIN)

    async def ListMerchantInvoices(
        self, request: pb.ListInvoicesRequest, context: Context
    ) -> pb.ListInvoicesResponse:
        merchant_id, consumer_ids = current_user_id(), None
        async with self.database.read() as store:
            if request.consumer:
                known = await store.list_consumers_of_merchant(merchant_id=merchant_id)
                consumer_ids = self.pseudonyms.find_consumers([request.consumer], merchant_id, known)
            page = await store.list_merchant_invoices(
                page_request(request), _filter(request), merchant_id=merchant_id, consumer_ids=consumer_ids
            )
        return self._list(page.rows, page.next_token, Audience.MERCHANT)

    async def ListConsumerInvoices(
        self, request: pb.ListInvoicesRequest, context: Context
    ) -> pb.ListInvoicesResponse:
        consumer_id = current_user_id()
        merchant_id = UUID(request.merchant_id) if request.merchant_id else None
        async with self.database.read() as store:
            page = await store.list_consumer_invoices(
                page_request(request), _filter(request), consumer_id=consumer_id, merchant_id=merchant_id
            )
        return self._list(page.rows, page.next_token, Audience.CONSUMER)

    async def GetInvoice(self, request: pb.GetInvoiceRequest, context: Context) -> pb.Invoice:
        async with self.database.read() as store:
            return await find_whole_invoice(store, UUID(request.invoice_id), self.pseudonyms)

    async def GetStatement(self, request: pb.GetStatementRequest, context: Context) -> pb.Statement:
        caller = current_caller()
        # An admin that names nobody is a merchant too, or has forgotten to.
        if request.merchant_id and ADMIN in caller.roles:
            merchant_id = UUID(request.merchant_id)
        elif MERCHANT in caller.roles:
            merchant_id = current_user_id()
        else:
            violation = FieldViolation("merchantId", "is required")
            raise InvalidArgumentError("merchant_required", "merchantId is required.", [violation])
        if request.merchant_id and merchant_id != UUID(request.merchant_id):
            raise PermissionDeniedError("merchant_not_yours", "That is another merchant's statement.")
        since, until = begins_of(request.period)
        async with self.database.read() as store:
            name = await store.find_merchant_name(merchant_id=merchant_id)
            invoices = await store.list_issued(
                merchant_id=merchant_id, since=since, until=until, limit=_STATEMENT_LIMIT
            )
            totals = await store.sum_issued(merchant_id=merchant_id, since=since, until=until)
        audience = Audience.ADMIN if ADMIN in caller.roles and request.merchant_id else Audience.MERCHANT
        return pb.Statement(
            period=request.period,
            merchant_id=str(merchant_id),
            merchant_name=name or "",
            invoices=self._messages(invoices, audience),
            totals=map(total_message, totals),
        )

    def _list(
        self, invoices: Sequence[Invoice], next_token: str, audience: Audience
    ) -> pb.ListInvoicesResponse:
        return pb.ListInvoicesResponse(
            invoices=self._messages(invoices, audience), next_page_token=next_token
        )

    def _messages(self, invoices: Sequence[Invoice], audience: Audience) -> list[pb.Invoice]:
        return [invoice_message(invoice, audience, self.pseudonyms) for invoice in invoices]


async def find_own_invoice(store: Store, invoice_id: UUID) -> tuple[Invoice, Audience]:
    """An invoice that the caller may see, and as whom they see it.

    Raises NotFoundError, for somebody else's too: nobody can find out which ids there are.
    """
    user_id, roles = current_user_id(), current_caller().roles
    invoice = await store.find_invoice(
        invoice_id=invoice_id,
        is_admin=ADMIN in roles,
        merchant_id=user_id if MERCHANT in roles else None,
        consumer_id=user_id if CONSUMER in roles else None,
    )
    if invoice is None:
        raise NotFoundError("invoice_not_found", "There is no such invoice.")
    if ADMIN in roles:
        return invoice, Audience.ADMIN
    if CONSUMER in roles and invoice.consumer_id == user_id:
        return invoice, Audience.CONSUMER
    return invoice, Audience.MERCHANT


async def find_whole_invoice(store: Store, invoice_id: UUID, pseudonyms: Pseudonyms) -> pb.Invoice:
    """The same as the caller may see it, with what its prices don't charge and the digest of its roots."""
    invoice, audience = await find_own_invoice(store, invoice_id)
    message = invoice_message(invoice, audience, pseudonyms)
    versions = {UUID(line.price_version_id) for line in message.lines if line.price_version_id}
    prices = await DocumentStore(store.connection).list_prices(price_version_ids=sorted(versions))
    message.not_charged.extend(not_charged(message, dict(prices)))
    digest = await ProofStore(store.connection).find_digest(invoice_id=invoice_id)
    message.roots_digest = (digest or b"").hex()
    return message


def _filter(request: pb.ListInvoicesRequest) -> InvoiceFilter:
    return InvoiceFilter(
        period=request.period,
        status=_STATUS_WORDS.get(request.status, ""),
        kind=_KIND_WORDS.get(request.kind, ""),
    )


def _consumer_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        violation = FieldViolation("consumer", "must be a consumer's id")
        raise InvalidArgumentError(
            "consumer_invalid", "consumer must be a consumer's id.", [violation]
        ) from None
