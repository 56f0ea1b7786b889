"""What billing-svc does with events. What these functions raise for a malformed message sends it to
`dead_letters`; their effects commit together with the offset."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from ams.catalog.v1.events_pb2 import CatalogEvent
from ams.catalog.v1.pricing_pb2 import PriceVersion
from ams.usage.v1.events_pb2 import UsageDelta
from ams_common import topics
from ams_common.clock import from_timestamp
from ams_common.consumer import Subscription
from ams_common.database import Change
from ams_common.money import MINOR_UNIT_DIGITS, to_decimal

from billing_svc.deltas import parse_delta, sum_deltas
from billing_svc.store import Store


async def apply_usage_deltas(change: Change[Store], messages: Sequence[UsageDelta]) -> None:
    """Adds each delta to its billing counter, once per delta id however often it comes."""
    deltas = {delta.delta_id: delta for delta in map(parse_delta, messages)}
    # In this transaction: a delta that comes again, from a restored topic too, finds its id there.
    new = await change.store.claim_deltas(delta_ids=list(deltas))
    await change.store.add_to_counters(sum_deltas(deltas[delta_id] for delta_id in new))


async def apply_catalog_events(change: Change[Store], messages: Sequence[CatalogEvent]) -> None:
    """Keeps the services' names and the price versions. Other kinds of event are passed over."""
    for message in messages:
        kind = message.WhichOneof("event")
        if kind == "service_changed":
            service = message.service_changed
            await change.store.upsert_service(
                service_id=UUID(service.service_id),
                merchant_id=UUID(service.merchant_id),
                name=service.name,
                changed_at=from_timestamp(message.occurred_at),
            )
        elif kind == "price_version_started":
            await _add_price_version(change.store, message.price_version_started)


async def _add_price_version(store: Store, version: PriceVersion) -> None:
    # What AMS can't bill must not stand among the prices: an invoice would come out wrong, not late.
    if version.price.WhichOneof("model") != "per_request":
        raise ValueError(f"price version {version.price_version_id!r} has a model that isn't known here")
    amount = version.price.per_request.amount
    unit_price = to_decimal(amount)
    if amount.currency_code not in MINOR_UNIT_DIGITS or unit_price < 0:
        raise ValueError(f"price version {version.price_version_id!r} has a price that can't be billed")
    known = await store.add_price_version(
        price_version_id=UUID(version.price_version_id),
        service_id=UUID(version.service_id),
        model="per_request",
        currency=amount.currency_code,
        amount=unit_price,
        starts_at=from_timestamp(version.starts_at),
    )
    if known is None:
        raise ValueError(f"price version {version.price_version_id} came again with another price")


SUBSCRIPTIONS: tuple[Subscription[Any], ...] = (
    Subscription(topics.USAGE_AGGREGATED, UsageDelta, apply_usage_deltas),
    Subscription(topics.CATALOG_EVENTS, CatalogEvent, apply_catalog_events),
)
