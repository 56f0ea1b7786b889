"""What billing-svc does with events. What these functions raise for a malformed message sends it to
`dead_letters`; their effects commit together with the offset."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from ams.catalog.v1.events_pb2 import CatalogEvent
from ams.catalog.v1.pricing_pb2 import PriceVersion
from ams.identity.v1.events_pb2 import IdentityEvent
from ams.usage.v1.events_pb2 import UsageTotal, UsageTotalBatch
from ams_common import topics
from ams_common.clock import from_timestamp
from ams_common.consumer import Subscription
from ams_common.database import Change
from ams_common.prices import price_from_message
from ams_common.projects import Project, projects_of, save_projects
from ams_rating.price_json import price_to_json

from billing_svc.counters import greatest_totals
from billing_svc.store import Store


async def apply_usage_batches(change: Change[Store], messages: Sequence[UsageTotalBatch]) -> None:
    """As apply_usage_totals(). Raises ValueError for a batch of nothing, which is another message."""
    if not all(message.totals for message in messages):
        raise ValueError("a batch has no totals")
    await apply_usage_totals(change, [total for message in messages for total in message.totals])


async def apply_usage_totals(change: Change[Store], messages: Sequence[UsageTotal]) -> None:
    """Raises the counters to what is told: what comes again, or late, changes nothing."""
    await change.store.raise_counters(greatest_totals(messages))


async def apply_catalog_events(change: Change[Store], messages: Sequence[CatalogEvent]) -> None:
    """Keeps the services' names and the price versions. Other kinds of event are passed over."""
    for message in messages:
        kind = message.WhichOneof("event")
        if kind == "service_changed":
            service = message.service_changed
            service_id = UUID(service.service_id)
            changed = await change.store.upsert_service(
                service_id=service_id,
                merchant_id=UUID(service.merchant_id),
                name=service.name,
                changed_at=from_timestamp(message.occurred_at),
            )
            if changed:
                await change.store.mark_open_users_of_service(service_id=service_id)
        elif kind == "price_version_changed":
            await _keep_price_version(change.store, message.price_version_changed)


async def apply_identity_events(change: Change[Store], messages: Sequence[IdentityEvent]) -> None:
    """Keeps the merchants' names, and who is in which project. Other kinds of event are passed over.

    Raises ValueError for a project that can't be read.
    """
    for message in messages:
        if message.WhichOneof("event") == "merchant_changed":
            merchant = message.merchant_changed
            await change.store.upsert_merchant(
                merchant_id=UUID(merchant.merchant_id),
                display_name=merchant.display_name,
                standing_version=merchant.standing_version,
            )
    await apply_projects(change, projects_of(messages))


async def apply_projects(change: Change[Store], projects: Sequence[Project]) -> None:
    """Keeps what is newer than what is known, whether Kafka or identity-svc told it."""
    await save_projects(change.connection, projects)


async def _keep_price_version(store: Store, version: PriceVersion) -> None:
    # Raises for what can't be billed: among the prices it would make an invoice wrong, not late.
    price = price_from_message(version.price)
    service_id = UUID(version.service_id)
    known = await store.add_price_version(
        price_version_id=UUID(version.price_version_id),
        service_id=service_id,
        currency=price.currency,
        price=json.dumps(price_to_json(price)),
        starts_at=from_timestamp(version.starts_at),
        canceled_at=from_timestamp(version.canceled_at) if version.HasField("canceled_at") else None,
    )
    if known is None:
        raise ValueError(f"price version {version.price_version_id} came again with another price")
    changed_from = await store.arrange_price_versions(service_id=service_id)
    if changed_from:
        await store.mark_users_of_service(service_id=service_id, since=min(changed_from))


SUBSCRIPTIONS: tuple[Subscription[Any], ...] = (
    Subscription(topics.USAGE_AGGREGATED, UsageTotalBatch, apply_usage_batches),
    Subscription(topics.CATALOG_EVENTS, CatalogEvent, apply_catalog_events),
    Subscription(topics.IDENTITY_EVENTS, IdentityEvent, apply_identity_events),
)
