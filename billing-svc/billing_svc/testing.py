"""For tests: the service as its callers have it, and the events that fill it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
from ams.audit.v1.events_pb2 import AuditRecord
from ams.billing.v1 import billing_service_pb2 as pb
from ams.billing.v1 import billing_service_pb2_grpc as rpc
from ams.catalog.v1.events_pb2 import ACTIVE, API, CatalogEvent, ServiceChanged
from ams.catalog.v1.pricing_pb2 import PerRequest, Price, PriceVersion
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1.events_pb2 import UsageDelta
from ams_common.client import invoke
from ams_common.clock import to_timestamp
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.money import to_money
from ams_common.testing.tokens import TestIssuer

from billing_svc.event_handlers import apply_catalog_events, apply_usage_deltas
from billing_svc.store import Store


class SetClock:
    """A clock that stands still until a test sets it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 15, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Billing:
    """The service as its callers have it: `await billing.ask("GetInvoice", request, user_id, ADMIN)`."""

    stub: rpc.BillingServiceStub
    issuer: TestIssuer
    database: Database

    async def ask(self, method: str, request: Any, user_id: UUID, *roles: Role.ValueType) -> Any:
        """The answer. Raises the AppError that the service meant."""
        return await invoke(
            getattr(self.stub, method), request, token=self.issuer.user_token(user_id, *roles)
        )

    async def generate(self, period: str = "2026-11", **scope: Any) -> list[pb.Invoice]:
        """The invoices that an admin who generates them is answered with."""
        request = pb.GenerateInvoicesRequest(period=period, **scope)
        return list((await self.ask("GenerateInvoices", request, uuid7(), ADMIN)).invoices)

    async def generate_own(
        self, merchant_id: UUID, period: str = "2026-11", **scope: Any
    ) -> list[pb.Invoice]:
        """The invoices that the merchant who generates its own is answered with."""
        request = pb.GenerateInvoicesRequest(period=period, **scope)
        return list((await self.ask("GenerateInvoices", request, merchant_id, MERCHANT)).invoices)

    async def spend(self, consumer_id: UUID, period: str = "") -> pb.GetConsumerSpendResponse:
        request = pb.GetConsumerSpendRequest(period=period)
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


def price_started(
    price_version_id: UUID, service_id: UUID, amount: Decimal, currency: str, starts_at: datetime
) -> CatalogEvent:
    """The event as catalog-svc publishes it."""
    price = Price(per_request=PerRequest(amount=to_money(amount, currency)))
    version = PriceVersion(
        price_version_id=str(price_version_id),
        service_id=str(service_id),
        price=price,
        starts_at=to_timestamp(starts_at),
    )
    return CatalogEvent(
        event_id=str(uuid7()), occurred_at=to_timestamp(starts_at), price_version_started=version
    )


@dataclass(frozen=True, slots=True)
class PricedService:
    """A merchant's service, and the price version that its usage is charged by."""

    merchant_id: UUID
    service_id: UUID
    price_version_id: UUID


def usage_delta(
    priced: PricedService,
    consumer_id: UUID,
    billable: int,
    period: str = "2026-11",
    requests: int | None = None,
) -> UsageDelta:
    """The delta as usage-svc publishes it; each request has 10 bytes and each response 100."""
    count = billable if requests is None else requests
    return UsageDelta(
        delta_id=str(uuid7()),
        period=period,
        merchant_id=str(priced.merchant_id),
        consumer_id=str(consumer_id),
        service_id=str(priced.service_id),
        price_version_id=str(priced.price_version_id),
        requests=count,
        billable_requests=billable,
        request_bytes=10 * count,
        response_bytes=100 * count,
    )


@dataclass
class Events:
    """Hands events to the service's own handlers, as its event consumer does."""

    database: Database[Store]
    started_at: datetime = field(default=datetime(2026, 1, 1, tzinfo=UTC))

    async def catalog(self, *events: CatalogEvent) -> None:
        async with self.database.change_by_system("test", audited=False) as change:
            await apply_catalog_events(change, events)

    async def usage(self, *deltas: UsageDelta) -> None:
        async with self.database.change_by_system("test", audited=False) as change:
            await apply_usage_deltas(change, deltas)

    async def priced_service(
        self,
        price: str = "0.005",
        currency: str = "EUR",
        merchant_id: UUID | None = None,
        name: str = "Weather",
    ) -> PricedService:
        """A new service, of a new merchant where none is given, with its first price."""
        priced = PricedService(merchant_id or uuid7(), uuid7(), uuid7())
        await self.catalog(
            service_changed(priced.service_id, priced.merchant_id, name, self.started_at),
            price_started(
                priced.price_version_id, priced.service_id, Decimal(price), currency, self.started_at
            ),
        )
        return priced

    async def new_price(
        self, priced: PricedService, price: str, starts_at: datetime, currency: str = "EUR"
    ) -> PricedService:
        """The same service at another price from `starts_at` on."""
        version_id = uuid7()
        await self.catalog(price_started(version_id, priced.service_id, Decimal(price), currency, starts_at))
        return PricedService(priced.merchant_id, priced.service_id, version_id)
