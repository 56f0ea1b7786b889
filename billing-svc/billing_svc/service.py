"""The RPCs of BillingService: who calls, what they own, the transaction, the answer."""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg
from ams.billing.v1 import billing_service_pb2 as pb
from ams.billing.v1 import billing_service_pb2_grpc as rpc
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams_common.clock import utc_now
from ams_common.context import current_caller, current_user_id
from ams_common.database import Database
from ams_common.errors import AlreadyExistsError, FieldViolation, InvalidArgumentError, NotFoundError
from ams_common.interceptors import Context
from ams_common.money import to_money
from ams_common.paging import page_request

from billing_svc.commission import parse_rate
from billing_svc.generation import draft_month, generate, scope_of_admin, scope_of_merchant
from billing_svc.invoices import Invoice, draft_lines, totals_by_currency
from billing_svc.periods import period_of
from billing_svc.pseudonyms import Pseudonyms
from billing_svc.store import Ownership, Scope, Store
from billing_svc.views import Audience, invoice_message, line_message, rate_message, revenue_message


class BillingService(rpc.BillingServiceServicer):
    """`clock` tells the present moment, and so which month is the present one."""

    def __init__(
        self,
        database: Database,
        store: Store,
        pseudonyms: Pseudonyms,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._store = store
        self._pseudonyms = pseudonyms
        self._clock = clock

    async def GenerateInvoices(
        self, request: pb.GenerateInvoicesRequest, context: Context
    ) -> pb.GenerateInvoicesResponse:
        if request.period > period_of(self._clock()):
            raise _invalid("period_invalid", "period", "must not be in the future")
        async with self._database.change() as change:
            scope = await self._scope(change.connection, request)
            invoices = await generate(change.connection, self._store, scope)
            details = {"merchant_id": str(scope.merchant_id)} if scope.merchant_id else {}
            change.audit("billing_period", scope.period, **details)
        audience = Audience.ADMIN if _is_admin() else Audience.MERCHANT
        return pb.GenerateInvoicesResponse(invoices=self._messages(invoices, audience))

    async def ListInvoices(
        self, request: pb.ListInvoicesRequest, context: Context
    ) -> pb.ListInvoicesResponse:
        merchant_id, consumer_id = _optional(request.merchant_id), _optional(request.consumer_id)
        async with self._database.read() as connection:
            page = await self._store.list_invoices(
                connection,
                page_request(request),
                period=request.period,
                merchant_id=merchant_id,
                consumer_id=consumer_id,
            )
        return pb.ListInvoicesResponse(
            invoices=self._messages(page.rows, Audience.ADMIN), next_page_token=page.next_token
        )

    async def ListMerchantInvoices(
        self, request: pb.ListMerchantInvoicesRequest, context: Context
    ) -> pb.ListMerchantInvoicesResponse:
        async with self._database.read() as connection:
            page = await self._store.list_merchant_invoices(
                connection, page_request(request), period=request.period, merchant_id=current_user_id()
            )
        return pb.ListMerchantInvoicesResponse(
            invoices=self._messages(page.rows, Audience.MERCHANT), next_page_token=page.next_token
        )

    async def ListConsumerInvoices(
        self, request: pb.ListConsumerInvoicesRequest, context: Context
    ) -> pb.ListConsumerInvoicesResponse:
        async with self._database.read() as connection:
            page = await self._store.list_consumer_invoices(
                connection, page_request(request), period=request.period, consumer_id=current_user_id()
            )
        return pb.ListConsumerInvoicesResponse(
            invoices=self._messages(page.rows, Audience.CONSUMER), next_page_token=page.next_token
        )

    async def GetInvoice(self, request: pb.GetInvoiceRequest, context: Context) -> pb.Invoice:
        owner = _ownership()
        async with self._database.read() as connection:
            invoice = await self._store.find_invoice(connection, UUID(request.invoice_id), owner)
        if invoice is None:
            raise NotFoundError("invoice_not_found", "There is no such invoice.")
        return invoice_message(invoice, _audience_of(invoice, owner), self._pseudonyms)

    async def GetConsumerSpend(
        self, request: pb.GetConsumerSpendRequest, context: Context
    ) -> pb.GetConsumerSpendResponse:
        period = request.period or period_of(self._clock())
        async with self._database.read() as connection:
            usages = await self._store.list_usage_of_consumer(connection, current_user_id(), period)
        lines = draft_lines(usages)
        totals = totals_by_currency(lines)
        return pb.GetConsumerSpendResponse(
            period=period,
            lines=[line_message(line) for line in lines],
            totals=[to_money(total, currency) for currency, total in totals.items()],
        )

    async def GetMerchantRevenue(
        self, request: pb.GetMerchantRevenueRequest, context: Context
    ) -> pb.GetMerchantRevenueResponse:
        period = request.period or period_of(self._clock())
        async with self._database.read() as connection:
            drafts = await draft_month(connection, self._store, Scope(period, current_user_id(), None))
        return revenue_message(period, drafts)

    async def ListCommissionRates(
        self, request: pb.ListCommissionRatesRequest, context: Context
    ) -> pb.ListCommissionRatesResponse:
        async with self._database.read() as connection:
            rates = await self._store.list_commission_rates(connection)
        return pb.ListCommissionRatesResponse(commission_rates=[rate_message(rate) for rate in rates])

    async def CreateCommissionRate(
        self, request: pb.CreateCommissionRateRequest, context: Context
    ) -> pb.CommissionRate:
        async with self._database.change() as change:
            if (done := await change.replay(request, pb.CommissionRate)) is not None:
                return done
            rate = _rate(request)
            if request.starts_in <= period_of(self._clock()):
                raise _invalid("starts_in_invalid", "startsIn", "must be a month that has not begun")
            added = await self._store.add_commission_rate(change.connection, rate, request.starts_in)
            if added is None:
                raise AlreadyExistsError(
                    "commission_rate_exists", "That month has a commission rate already."
                )
            answer = rate_message(added)
            change.audit("commission_rate", added.starts_in, rate=answer.rate)
            await change.remember(request, answer)
        return answer

    async def _scope(self, connection: asyncpg.Connection, request: pb.GenerateInvoicesRequest) -> Scope:
        if _is_admin():
            return scope_of_admin(request.period, _optional(request.merchant_id), request.consumers)
        return await scope_of_merchant(
            connection, self._store, self._pseudonyms, request.period, current_user_id(), request.consumers
        )

    def _messages(self, invoices: Sequence[Invoice], audience: Audience) -> list[pb.Invoice]:
        return [invoice_message(invoice, audience, self._pseudonyms) for invoice in invoices]


def _is_admin() -> bool:
    return ADMIN in current_caller().roles


def _ownership() -> Ownership:
    user_id, roles = current_user_id(), current_caller().roles
    return Ownership(
        is_admin=ADMIN in roles,
        merchant_id=user_id if MERCHANT in roles else None,
        consumer_id=user_id if CONSUMER in roles else None,
    )


def _audience_of(invoice: Invoice, owner: Ownership) -> Audience:
    if owner.is_admin:
        return Audience.ADMIN
    is_consumers = invoice.content.key.consumer_id == owner.consumer_id
    return Audience.CONSUMER if is_consumers else Audience.MERCHANT


def _optional(text: str) -> UUID | None:
    return UUID(text) if text else None


def _rate(request: pb.CreateCommissionRateRequest) -> Decimal:
    try:
        return parse_rate(request.rate)
    except ValueError as error:
        raise _invalid("rate_invalid", "rate", str(error)) from None


def _invalid(code: str, field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError(code, f"{field} {description}.", [FieldViolation(field, description)])
