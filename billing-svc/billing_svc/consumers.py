"""What billing-svc does with events. What these functions raise for a malformed message sends it to
`dead_letters`; their effects commit together with the offset."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from ams.catalog.v1.events_pb2 import CatalogEvent, ServiceChanged
from ams.catalog.v1.pricing_pb2 import PriceVersion
from ams.usage.v1.events_pb2 import UsageDelta
from ams_common import topics
from ams_common.clock import from_timestamp
from ams_common.consumer import EventConsumer, Subscription
from ams_common.database import Change, Database
from ams_common.money import MINOR_UNIT_DIGITS, to_decimal

from billing_svc import pricing
from billing_svc.counters import parse_delta, sum_deltas
from billing_svc.store import Store

GROUP = "billing-svc"


class Consumers:
    """The handlers of billing-svc's subscriptions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def apply_deltas(self, change: Change, messages: Sequence[UsageDelta]) -> None:
        """Add each delta to its counter, once per delta id however often it comes."""
        deltas = {delta.delta_id: delta for delta in map(parse_delta, messages)}
        new = await self._store.claim_deltas(change.connection, list(deltas))
        await self._store.add_to_counters(change.connection, sum_deltas(deltas[i] for i in new))

    async def project_catalog(self, change: Change, messages: Sequence[CatalogEvent]) -> None:
        """Keep the services' names and the price versions. Other kinds of event are passed over."""
        for message in messages:
            kind = message.WhichOneof("event")
            if kind == "service_changed":
                await self._project_service(change, message.service_changed, message)
            elif kind == "price_version_started":
                await self._project_price(change, message.price_version_started)

    async def _project_service(self, change: Change, service: ServiceChanged, event: CatalogEvent) -> None:
        await self._store.upsert_service(
            change.connection,
            service_id=UUID(service.service_id),
            merchant_id=UUID(service.merchant_id),
            name=service.name,
            changed_at=from_timestamp(event.occurred_at),
        )

    async def _project_price(self, change: Change, message: PriceVersion) -> None:
        version = parse_price_version(message)
        if not await self._store.add_price_version(change.connection, UUID(message.service_id), version):
            raise ValueError(f"price version {version.price_version_id} came again with another price")


def parse_price_version(message: PriceVersion) -> pricing.PriceVersion:
    """Raises ValueError for a price that AMS can't bill: another model or currency, or a negative one."""
    if message.price.WhichOneof("model") != "per_request":
        raise ValueError(f"price version {message.price_version_id!r} has a model that isn't known here")
    amount = message.price.per_request.amount
    unit_price = to_decimal(amount)
    if amount.currency_code not in MINOR_UNIT_DIGITS or unit_price < 0:
        raise ValueError(f"price version {message.price_version_id!r} has a price that can't be billed")
    return pricing.PriceVersion(
        price_version_id=UUID(message.price_version_id),
        currency=amount.currency_code,
        unit_price=unit_price,
        starts_at=from_timestamp(message.starts_at),
    )


def build_consumer(
    database: Database, store: Store, bootstrap_servers: str, topic_prefix: str
) -> EventConsumer:
    """The consumer of usage.aggregated and catalog.events."""
    consumers = Consumers(store)
    subscriptions: list[Subscription[Any]] = [
        Subscription(topics.USAGE_AGGREGATED, UsageDelta, consumers.apply_deltas),
        Subscription(topics.CATALOG_EVENTS, CatalogEvent, consumers.project_catalog),
    ]
    return EventConsumer(database, bootstrap_servers, GROUP, subscriptions, topic_prefix)
