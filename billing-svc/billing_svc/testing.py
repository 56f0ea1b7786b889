"""For tests: the service as its callers have it, and the events that fill it."""

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
from ams.audit.v1.events_pb2 import AuditRecord
from ams.billing.v1 import billing_service_pb2 as pb
from ams.billing.v1 import billing_service_pb2_grpc as rpc
from ams.catalog.v1.events_pb2 import ACTIVE, API, CatalogEvent, ServiceChanged
from ams.catalog.v1.pricing_pb2 import PriceVersion
from ams.identity.v1.events_pb2 import IdentityEvent, MerchantChanged
from ams.identity.v1.notifications_pb2 import Notification
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1.events_pb2 import SERVED, ChargeClass, UsageTotal
from ams_common.client import invoke
from ams_common.clock import to_timestamp
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.prices import price_message
from ams_common.testing.tokens import TestIssuer
from ams_rating.prices import Component, Meter, PerUnit, Price
from google.protobuf.message import Message

from billing_svc.drafting import refresh_drafts
from billing_svc.event_handlers import apply_catalog_events, apply_identity_events, apply_usage_totals
from billing_svc.invariants import check_invariants
from billing_svc.running import InvoiceRunner
from billing_svc.store import Store

DUE_DAYS = 30
A_KEY = UUID(int=1)


class SetClock:
    """A clock that stands still until a test sets it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 15, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Billing:
    """The service as its callers have it: `await billing.ask("GetInvoice", request, user_id, ADMIN)`. What
    works in the background does so when a test says: `draft` and `work_off`."""

    stub: rpc.BillingServiceStub
    issuer: TestIssuer
    database: Database
    clock: SetClock

    async def ask(self, method: str, request: Any, user_id: UUID, *roles: Role.ValueType) -> Any:
        """The answer. Raises the AppError that the service meant."""
        return await invoke(
            getattr(self.stub, method), request, token=self.issuer.user_token(user_id, *roles)
        )

    async def draft(self) -> list[pb.Invoice]:
        """Brings the drafts up to the counters; all drafts, with their lines, as an admin sees them."""
        await refresh_drafts(self.database, self.clock.now)
        return [invoice for invoice in await self.invoices() if invoice.status == pb.INVOICE_DRAFT]

    async def invoices(self, **fields: Any) -> list[pb.Invoice]:
        """What an admin's list shows, in the order of numbers: at most 200."""
        request = pb.ListInvoicesRequest(page_size=200, **fields)
        listed = (await self.ask("ListInvoices", request, uuid7(), ADMIN)).invoices
        return sorted(listed, key=lambda invoice: (invoice.number, invoice.invoice_id))

    async def issue(self, last_day: str = "2026-10-31", **fields: Any) -> pb.InvoiceRun:
        """The run that an admin has asked for, finished."""
        request = pb.IssueInvoicesRequest(last_day=last_day, **fields)
        return await self._finished(await self.ask("IssueInvoices", request, uuid7(), ADMIN))

    async def issue_own(
        self, merchant_id: UUID, last_day: str = "2026-10-31", **fields: Any
    ) -> pb.InvoiceRun:
        """The run that a merchant has asked for, finished, as an admin sees it."""
        request = pb.IssueInvoicesRequest(last_day=last_day, **fields)
        return await self._finished(await self.ask("IssueInvoices", request, merchant_id, MERCHANT))

    async def work_off(self) -> None:
        """Does what the runs that were asked for say."""
        await InvoiceRunner(self.database, due_days=DUE_DAYS, clock=self.clock).work_off()

    async def get(self, invoice_id: str) -> pb.Invoice:
        """An invoice as an admin sees it."""
        request = pb.GetInvoiceRequest(invoice_id=invoice_id)
        found: pb.Invoice = await self.ask("GetInvoice", request, uuid7(), ADMIN)
        return found

    async def void(self, invoice_id: str, reason: str = "Wrong") -> pb.Invoice:
        request = pb.VoidInvoiceRequest(invoice_id=invoice_id, reason=reason)
        found: pb.Invoice = await self.ask("VoidInvoice", request, uuid7(), ADMIN)
        return found

    async def spend(self, consumer_id: UUID, period: str = "", **fields: Any) -> pb.GetConsumerSpendResponse:
        request = pb.GetConsumerSpendRequest(period=period, **fields)
        answer: pb.GetConsumerSpendResponse = await self.ask(
            "GetConsumerSpend", request, consumer_id, CONSUMER
        )
        return answer

    async def revenue(self, merchant_id: UUID, period: str = "") -> pb.GetMerchantRevenueResponse:
        request = pb.GetMerchantRevenueRequest(period=period)
        answer: pb.GetMerchantRevenueResponse = await self.ask(
            "GetMerchantRevenue", request, merchant_id, MERCHANT
        )
        return answer

    async def check(self) -> None:
        """No invariant of money is broken."""
        assert await check_invariants(self.database) == []

    async def rows(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows that `sql` finds in the service's database."""
        async with self.database.connection() as connection:
            found: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
        return found

    async def execute(self, sql: str, *arguments: Any) -> None:
        """Runs a statement on the service's database, as no RPC could."""
        async with self.database.connection() as connection:
            await connection.execute(sql, *arguments)

    async def audits(self) -> list[AuditRecord]:
        """The audit records on their way out, in order."""
        found = await self.rows("SELECT payload FROM outbox WHERE topic = 'audit.events' ORDER BY outbox_id")
        return [AuditRecord.FromString(row["payload"]) for row in found]

    async def notifications(self) -> list[Notification]:
        """What identity-svc is asked to tell, in order."""
        found = await self.rows("SELECT payload FROM outbox WHERE topic = 'notifications' ORDER BY outbox_id")
        return [Notification.FromString(row["payload"]) for row in found]

    async def _finished(self, run: pb.InvoiceRun) -> pb.InvoiceRun:
        await self.work_off()
        request = pb.GetInvoiceRunRequest(invoice_run_id=run.invoice_run_id)
        found: pb.InvoiceRun = await self.ask("GetInvoiceRun", request, uuid7(), ADMIN)
        return found


def service_changed(service_id: UUID, merchant_id: UUID, name: str, at: datetime) -> CatalogEvent:
    """The event as catalog-svc publishes it."""
    state = ServiceChanged(
        service_id=str(service_id),
        merchant_id=str(merchant_id),
        slug="a-service",
        name=name,
        type=API,
        status=ACTIVE,
    )
    return CatalogEvent(event_id=str(uuid7()), occurred_at=to_timestamp(at), service_changed=state)


def per_request(amount: str, currency: str = "EUR") -> Price:
    """The simplest price there is."""
    return Price(currency, (Component(Meter.REQUESTS, PerUnit(Decimal(amount))),))


def price_changed(
    price_version_id: UUID,
    service_id: UUID,
    price: Price,
    starts_at: datetime,
    canceled_at: datetime | None = None,
) -> CatalogEvent:
    """The event as catalog-svc publishes it."""
    version = PriceVersion(
        price_version_id=str(price_version_id),
        service_id=str(service_id),
        price=price_message(price),
        starts_at=to_timestamp(starts_at),
        created_at=to_timestamp(starts_at),
        canceled_at=to_timestamp(canceled_at),
    )
    return CatalogEvent(
        event_id=str(uuid7()), occurred_at=to_timestamp(starts_at), price_version_changed=version
    )


def merchant_changed(merchant_id: UUID, display_name: str, version: int = 1) -> IdentityEvent:
    """The event as identity-svc publishes it."""
    state = MerchantChanged(merchant_id=str(merchant_id), display_name=display_name, standing_version=version)
    return IdentityEvent(event_id=str(uuid7()), merchant_changed=state)


@dataclass(frozen=True, slots=True)
class PricedService:
    """A merchant's service, and its price version."""

    merchant_id: UUID
    service_id: UUID
    price_version_id: UUID


@dataclass(frozen=True, slots=True)
class Group:
    """Who used what on a day, by which key: what a total is of. `total()` says what it comes to."""

    priced: PricedService
    consumer_id: UUID
    day: str = "2026-11-10"
    api_key_id: UUID = A_KEY
    project_id: UUID | None = None
    charge_class: ChargeClass.ValueType = SERVED

    def on(self, day: str) -> "Group":
        return replace(self, day=day)

    def total(self, requests: int, **last_offsets: int) -> UsageTotal:
        """The total as usage-svc publishes it; each request has 10 bytes and each answer 100, and is an event
        of one source with the next offset, unless the last of each source are given."""
        return UsageTotal(
            day=self.day,
            merchant_id=str(self.priced.merchant_id),
            consumer_id=str(self.consumer_id),
            project_id=str(self.project_id or ""),
            api_key_id=str(self.api_key_id),
            service_id=str(self.priced.service_id),
            charge_class=self.charge_class,
            events=requests,
            requests=requests,
            request_bytes=10 * requests,
            response_bytes=100 * requests,
            last_offsets=last_offsets or {"a topic/0": requests},
        )


@dataclass
class Events:
    """Hands events to the service's own handlers, as its event consumer does."""

    database: Database[Store]
    started_at: datetime = field(default=datetime(2026, 1, 1, tzinfo=UTC))

    async def catalog(self, *events: CatalogEvent) -> None:
        async with self.database.change_by_system("test", audited=False) as change:
            await apply_catalog_events(change, events)

    async def identity(self, *events: IdentityEvent) -> None:
        async with self.database.change_by_system("test", audited=False) as change:
            await apply_identity_events(change, events)

    async def usage(self, *totals: UsageTotal) -> None:
        async with self.database.change_by_system("test", audited=False) as change:
            await apply_usage_totals(change, totals)

    async def priced_service(
        self,
        price: str | Price = "0.005",
        currency: str = "EUR",
        merchant_id: UUID | None = None,
        name: str = "Weather",
    ) -> PricedService:
        """A new service, of a new merchant where none is given, with its first price."""
        priced = PricedService(merchant_id or uuid7(), uuid7(), uuid7())
        known = per_request(price, currency) if isinstance(price, str) else price
        await self.catalog(
            service_changed(priced.service_id, priced.merchant_id, name, self.started_at),
            price_changed(priced.price_version_id, priced.service_id, known, self.started_at),
        )
        return priced

    async def new_price(
        self, priced: PricedService, price: str | Price, first_day: str, currency: str = "EUR"
    ) -> UUID:
        """Another price of the service from a day on; its version's id."""
        version_id = uuid7()
        known = per_request(price, currency) if isinstance(price, str) else price
        starts_at = datetime.combine(date.fromisoformat(first_day), datetime.min.time(), UTC)
        await self.catalog(price_changed(version_id, priced.service_id, known, starts_at))
        return version_id


def contains(message: Message, user_id: UUID) -> bool:
    """Whether an answer tells of somebody, in whatever form."""
    serialised = message.SerializeToString()
    return str(user_id).encode() in serialised or user_id.bytes in serialised
