"""The RPCs about invoices: who calls, what they own, the transaction, the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams_common.clock import Clock, utc_now
from ams_common.context import current_caller, current_user_id
from ams_common.database import Database
from ams_common.errors import FieldViolation, InvalidArgumentError, NotFoundError
from ams_common.interceptors import Context
from ams_common.paging import page_request

from billing_svc.generation import generate, scope_of_admin, scope_of_merchant
from billing_svc.invoices import Invoice
from billing_svc.messages import Audience, invoice_message
from billing_svc.periods import period_of
from ams_common.pseudonyms import Pseudonyms
from billing_svc.store import Store


@dataclass(kw_only=True, eq=False)
class InvoiceRpcs:
    database: Database[Store]
    pseudonyms: Pseudonyms
    clock: Clock = utc_now

    async def GenerateInvoices(
        self, request: pb.GenerateInvoicesRequest, context: Context
    ) -> pb.GenerateInvoicesResponse:
        if request.period > period_of(self.clock()):
            violation = FieldViolation("period", "must not be in the future")
            raise InvalidArgumentError("period_invalid", "period must not be in the future.", [violation])
        is_admin = ADMIN in current_caller().roles
        async with self.database.change() as change:
            if is_admin:
                scope = scope_of_admin(request.period, _uuid(request.merchant_id), request.consumers)
            else:
                scope = await scope_of_merchant(
                    change.store, self.pseudonyms, request.period, current_user_id(), request.consumers
                )
            invoices = await generate(change.store, scope)
            details = {"merchant_id": str(scope.merchant_id)} if scope.merchant_id else {}
            change.audit("billing_period", scope.period, **details)
        audience = Audience.ADMIN if is_admin else Audience.MERCHANT
        return pb.GenerateInvoicesResponse(invoices=self._messages(invoices, audience))

    async def ListInvoices(
        self, request: pb.ListInvoicesRequest, context: Context
    ) -> pb.ListInvoicesResponse:
        async with self.database.read() as store:
            page = await store.list_invoices(
                page_request(request), request.period, _uuid(request.merchant_id), _uuid(request.consumer_id)
            )
        return pb.ListInvoicesResponse(
            invoices=self._messages(page.rows, Audience.ADMIN), next_page_token=page.next_token
        )

    async def ListMerchantInvoices(
        self, request: pb.ListMerchantInvoicesRequest, context: Context
    ) -> pb.ListMerchantInvoicesResponse:
        async with self.database.read() as store:
            page = await store.list_merchant_invoices(
                page_request(request), request.period, current_user_id()
            )
        return pb.ListMerchantInvoicesResponse(
            invoices=self._messages(page.rows, Audience.MERCHANT), next_page_token=page.next_token
        )

    async def ListConsumerInvoices(
        self, request: pb.ListConsumerInvoicesRequest, context: Context
    ) -> pb.ListConsumerInvoicesResponse:
        async with self.database.read() as store:
            page = await store.list_consumer_invoices(
                page_request(request), request.period, current_user_id()
            )
        return pb.ListConsumerInvoicesResponse(
            invoices=self._messages(page.rows, Audience.CONSUMER), next_page_token=page.next_token
        )

    async def GetInvoice(self, request: pb.GetInvoiceRequest, context: Context) -> pb.Invoice:
        user_id, roles = current_user_id(), current_caller().roles
        consumer_id = user_id if CONSUMER in roles else None
        async with self.database.read() as store:
            invoice = await store.find_invoice(
                invoice_id=UUID(request.invoice_id),
                is_admin=ADMIN in roles,
                merchant_id=user_id if MERCHANT in roles else None,
                consumer_id=consumer_id,
            )
        if invoice is None:
            # Somebody else's too: nobody can find out which ids there are.
            raise NotFoundError("invoice_not_found", "There is no such invoice.")
        if ADMIN in roles:
            audience = Audience.ADMIN
        elif invoice.content.key.consumer_id == consumer_id:
            audience = Audience.CONSUMER
        else:
            audience = Audience.MERCHANT
        return invoice_message(invoice, audience, self.pseudonyms)

    def _messages(self, invoices: Sequence[Invoice], audience: Audience) -> list[pb.Invoice]:
        return [invoice_message(invoice, audience, self.pseudonyms) for invoice in invoices]


def _uuid(text: str) -> UUID | None:
    return UUID(text) if text else None
