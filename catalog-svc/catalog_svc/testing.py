"""For the tests of catalog-svc: those who call it, and what it wrote."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import grpc
import pytest
from ams.audit.v1.events_pb2 import AuditRecord
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import catalog_service_pb2_grpc as rpc
from ams.catalog.v1 import openapi_service_pb2 as openapi_pb
from ams.catalog.v1.discovery_service_pb2_grpc import DiscoveryServiceStub
from ams.catalog.v1.events_pb2 import API, CatalogEvent, ServiceSnapshot
from ams.catalog.v1.invitation_service_pb2_grpc import InvitationServiceStub
from ams.catalog.v1.lifecycle_service_pb2_grpc import LifecycleServiceStub
from ams.catalog.v1.openapi_service_pb2_grpc import OpenapiServiceStub
from ams.catalog.v1.pricing_pb2 import REQUESTS, ChargeRule, PerUnit, Price, PriceComponent, PriceVersion
from ams.catalog.v1.revision_service_pb2_grpc import RevisionServiceStub
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, IdentityEvent, MerchantChanged, Standing
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.errors import AppError, from_rpc_error
from ams_common.ids import uuid7
from ams_common.money import to_money
from ams_common.sealing import DEVELOPMENT_SEALING_KEYS, Sealer
from ams_common.testing.tokens import TestIssuer

from catalog_svc.event_handlers import apply_identity_events
from catalog_svc.store import Store

M = TypeVar("M")
CONSUME_URL = "https://gateway.ams.example/api/consume"
SEALER = Sealer(DEVELOPMENT_SEALING_KEYS)
DOCUMENT = """\
openapi: 3.1.0
info: {title: Cities, version: "1"}
paths:
  /cities: {get: {responses: {"200": {description: All of them}}}}
"""
_FILL_TIMEOUT_S = 600


class MovingClock:
    """The present moment, and as much later as the test wants."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self._ahead

    def advance(self, by: timedelta) -> None:
        self._ahead += by


@dataclass(frozen=True)
class Caller:
    """Somebody who calls the catalog, by a token of their own (None: not signed in)."""

    user_id: UUID
    token: str | None
    stub: rpc.CatalogServiceStub

    async def call(self, method: Callable[..., Awaitable[M]], request: Any) -> M:
        metadata = (("authorization", f"Bearer {self.token}"),) if self.token is not None else ()
        return await method(request, metadata=metadata, timeout=10)

    async def error(self, method: Callable[..., Awaitable[Any]], request: Any) -> AppError:
        """What the call was denied with; a call that is let through fails the test."""
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await self.call(method, request)
        return from_rpc_error(raised.value)


@dataclass(frozen=True)
class Catalog:
    """Everything a test does to the catalog from outside, and what came out of it."""

    channel: grpc.aio.Channel
    database: Database[Store]
    issuer: TestIssuer
    clock: MovingClock

    @cached_property
    def stub(self) -> rpc.CatalogServiceStub:
        return rpc.CatalogServiceStub(self.channel)

    @cached_property
    def revisions(self) -> RevisionServiceStub:
        return RevisionServiceStub(self.channel)

    @cached_property
    def lifecycle(self) -> LifecycleServiceStub:
        return LifecycleServiceStub(self.channel)

    @cached_property
    def discovery(self) -> DiscoveryServiceStub:
        return DiscoveryServiceStub(self.channel)

    @cached_property
    def invitations(self) -> InvitationServiceStub:
        return InvitationServiceStub(self.channel)

    @cached_property
    def openapi(self) -> OpenapiServiceStub:
        return OpenapiServiceStub(self.channel)

    def caller(self, *roles: Any) -> Caller:
        user_id = uuid7()
        return Caller(user_id, self.issuer.user_token(user_id, *roles), self.stub)

    def merchant(self) -> Caller:
        return self.caller(MERCHANT)

    def admin(self) -> Caller:
        return self.caller(ADMIN)

    def consumer(self) -> Caller:
        return self.caller(CONSUMER)

    def nobody(self) -> Caller:
        return Caller(uuid7(), None, self.stub)

    def service(self, name: str) -> Caller:
        return Caller(uuid7(), self.issuer.service_token(name), self.stub)

    async def tell_merchant(
        self,
        merchant: Caller,
        name: str = "Acme",
        standing: Standing.ValueType = STANDING_ACTIVE,
        version: int = 0,
    ) -> None:
        """Applies the event by which identity-svc would tell of the merchant."""
        async with self.database.change_by_system("test", audited=False) as change:
            await apply_identity_events(change, [merchant_event(merchant.user_id, name, standing, version)])

    async def known_merchant(self, name: str = "Acme") -> Caller:
        merchant = self.merchant()
        await self.tell_merchant(merchant, name)
        return merchant

    async def create(self, merchant: Caller, **fields: Any) -> pb.Service:
        return await merchant.call(self.stub.CreateService, create_request(**fields))

    async def submit(self, merchant: Caller, **fields: Any) -> pb.Service:
        created = await self.create(merchant, **fields)
        return await merchant.call(
            self.stub.SubmitService, pb.SubmitServiceRequest(service_id=created.service_id)
        )

    async def publish(self, merchant: Caller, **fields: Any) -> pb.Service:
        """A service that has gone all the way to ACTIVE."""
        submitted = await self.submit(merchant, **fields)
        return await self.admin().call(
            self.stub.ApproveService, pb.ApproveServiceRequest(service_id=submitted.service_id)
        )

    def day(self, days: int) -> str:
        """The UTC day so many days from now, as requests name it."""
        return (self.clock() + timedelta(days=days)).date().isoformat()

    async def attach_document(
        self, merchant: Caller, service_id: str, content: str = DOCUMENT, etag: str = ""
    ) -> pb.Service:
        """The service with its OpenAPI document."""
        request = openapi_pb.SetOpenapiDocumentRequest(service_id=service_id, content=content, etag=etag)
        metadata = (("authorization", f"Bearer {merchant.token}"),)
        # A process is started for it, which may take a while where many others run.
        changed: pb.Service = await self.openapi.SetOpenapiDocument(request, metadata=metadata, timeout=40)
        return changed

    async def schedule(
        self, merchant: Caller, service_id: str, amount: str, days: int, **fields: Any
    ) -> PriceVersion:
        """A price per request, announced for so many days from now."""
        request = pb.SchedulePriceRequest(
            service_id=service_id, price=price(amount), starts_on=self.day(days), **fields
        )
        return await merchant.call(self.stub.SchedulePrice, request)

    async def rows(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows that `sql` finds in the service's database."""
        async with self.database.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
        return rows

    async def execute(self, sql: str) -> None:
        """Runs statements on the service's database, as no RPC could."""
        async with self.database.connection() as connection:
            await connection.execute(sql, timeout=_FILL_TIMEOUT_S)

    async def outbox(self, topic: str) -> list[bytes]:
        """The payloads on their way to a Kafka topic or a Redis key, oldest first."""
        rows = await self.rows("SELECT payload FROM outbox WHERE topic = $1 ORDER BY outbox_id", topic)
        return [row["payload"] for row in rows]

    async def audits(self) -> list[tuple[str, str, str, str]]:
        """(actor, action, resource, resource id) of each audit record."""
        records = map(AuditRecord.FromString, await self.outbox("audit.events"))
        return [(r.actor, r.action, r.resource, r.resource_id) for r in records]

    async def events(self) -> list[CatalogEvent]:
        return [CatalogEvent.FromString(payload) for payload in await self.outbox("catalog.events")]

    async def snapshots(self, service: str) -> list[ServiceSnapshot]:
        """The snapshots written for `service`, an id or a slug, oldest first."""
        return [
            ServiceSnapshot.FromString(payload) for payload in await self.outbox(f"ams:service:{service}")
        ]

    async def state(self) -> list[Any]:
        """All rows that a denied call must leave as they are."""
        tables = (
            *("services", "price_versions", "service_revisions", "service_invitations", "service_viewers"),
            *("merchants", "openapi_documents", "outbox", "idempotent_answers"),
        )
        selects = [f"SELECT * FROM {table} ORDER BY 1" for table in tables]  # noqa: S608 - names from above
        return [await self.rows(select) for select in selects]


def price(amount: str = "0.002", currency: str = "USD") -> Price:
    unit = PerUnit(amount=to_money(Decimal(amount), currency))
    return Price(
        currency_code=currency,
        components=[PriceComponent(meter=REQUESTS, per_unit=unit)],
        charge_rule=ChargeRule(),
    )


def create_request(**fields: Any) -> pb.CreateServiceRequest:
    """A complete API service, with `fields` in place of the usual ones."""
    usual: dict[str, Any] = {
        "name": "Weather",
        "description": "Forecasting for any place on earth",
        "type": API,
        "base_url": "https://api.example.com/v1",
        "documentation_url": "https://docs.example.com",
        "version": "1.0.0",
        "tags": ["weather", "geo"],
        "price": price(),
        "rate_limit_per_minute": 600,
        "additional_info": "JSON over HTTPS",
    }
    return pb.CreateServiceRequest(**{**usual, **fields})


def merchant_event(
    merchant_id: UUID,
    name: str = "Acme",
    standing: Standing.ValueType = STANDING_ACTIVE,
    version: int = 0,
) -> IdentityEvent:
    changed = MerchantChanged(
        merchant_id=str(merchant_id),
        display_name=name,
        slug=name.lower(),
        standing=standing,
        standing_version=version,
    )
    return IdentityEvent(event_id=str(uuid7()), merchant_changed=changed)


async def fill_marketplace(connection: asyncpg.Connection, services: int, merchants: int = 500) -> None:
    """So many active services with words of which some are in every one and some in few, as merchants write
    them; the tenth is private."""
    await connection.execute(
        """
        INSERT INTO merchants (merchant_id, standing, display_name, slug)
        SELECT gen_random_uuid(), 'active', 'Merchant ' || n || ' Ltd', 'm-' || n
        FROM generate_series(0, $1::integer - 1) AS n
        """,
        merchants,
    )
    await connection.execute(
        """
        WITH words AS (
            SELECT ARRAY['weather', 'payments', 'maps', 'routing', 'translation', 'invoices', 'currency',
                'vision', 'speech', 'identity', 'geocoding', 'forecast', 'sentiment', 'parcels', 'energy',
                'address', 'barcode', 'calendar', 'documents', 'flights'] AS word,
                ARRAY['weather', 'finance', 'location', 'transport', 'text', 'commerce', 'data', 'ai',
                'media', 'identity'] AS category
        ), owners AS (SELECT merchant_id, display_name, row_number() OVER () AS place FROM merchants)
        INSERT INTO services (service_id, merchant_id, slug, name, description, type, status, base_url,
            documentation_url, version, tags, rate_limit_per_minute, additional_info, created_at, updated_at,
            published_at, merchant_name, categories, visibility, image_type, typical_month_currency,
            typical_month_amount, price_models)
        SELECT gen_random_uuid(), merchant_id, 's-' || n,
            initcap(word[1 + n % 20]) || ' ' || word[1 + (n / 20) % 20] || ' rare' || n,
            'An API for ' || word[1 + (n / 7) % 20] || ' and ' || word[1 + (n / 3) % 20]
                || ' of any place, answered in milliseconds from data that is refreshed every hour.',
            CASE n % 12 WHEN 0 THEN 'docker' ELSE 'api' END, 'active', 'https://a.example', '', '1',
            ARRAY[word[1 + n % 20], word[1 + (n / 11) % 20], 'batch' || n % 1000], 0, '',
            moment, moment, moment, display_name, ARRAY[category[1 + n % 10]],
            CASE n % 10 WHEN 0 THEN 'private' ELSE 'public' END, CASE n % 12 WHEN 0 THEN 'worker' ELSE '' END,
            CASE n % 4 WHEN 0 THEN 'EUR' ELSE 'USD' END, n * 7919 % 100000 / 100.0,
            ARRAY[(ARRAY['per_request', 'tiered', 'free', 'packages'])[1 + n % 4]]
        FROM words, generate_series(1, $1::integer) AS n
        JOIN owners ON owners.place = 1 + n % $2::integer,
            LATERAL (SELECT now() - n * interval '1 minute' AS moment) AS times
        """,
        services,
        merchants,
        timeout=_FILL_TIMEOUT_S,
    )
    await connection.execute(
        """
        INSERT INTO price_versions (price_version_id, service_id, price, starts_at, created_at)
        SELECT gen_random_uuid(), service_id, jsonb_build_object('currency', typical_month_currency,
            'components', '[]'::jsonb,
            'charge_rule', '{"is_client_error_free": false, "is_abandoned_free": false}'::jsonb),
            published_at, published_at
        FROM services
        """,
        timeout=_FILL_TIMEOUT_S,
    )
    await connection.execute("VACUUM ANALYZE", timeout=_FILL_TIMEOUT_S)
