"""What a change to a service tells others, with its commit."""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams_common import topics
from ams_common.database import Change
from ams_common.snapshots import service_snapshot_key

from catalog_svc.messages import price_version_event, service_changed_event
from catalog_svc.records import PriceVersion, ServiceRecord
from catalog_svc.store import Store


def publish_service(change: Change, record: ServiceRecord) -> None:
    """Tells the other services of the record's present state."""
    event = service_changed_event(record, record.updated_at)
    change.publish(topics.CATALOG_EVENTS, str(record.service_id), event)


def publish_price(change: Change, version: PriceVersion, now: datetime) -> None:
    """Tells the other services of a price that was made or canceled."""
    change.publish(topics.CATALOG_EVENTS, str(version.service_id), price_version_event(version, now))


async def write_snapshot(change: Change[Store], service_id: UUID, now: datetime) -> None:
    """Gives the snapshot of a service that has just been changed its next version, and the gateways the
    snapshot. The service is locked, and saved."""
    await change.store.renew_snapshot(service_id=service_id, now=now)
    # Read again: what the gateways get is what the row says, with the version that it has now.
    [snapshot] = (await change.store.find_snapshots([str(service_id)], now)).values()
    for redis_key in redis_keys(snapshot):
        change.snapshot(redis_key, snapshot)


def redis_keys(snapshot: ServiceSnapshot) -> Iterator[str]:
    """Where the gateways look for it: under both names that a caller may know the service by. A service that
    hasn't been active yet has a price but no version of it; it is nowhere, and must not get there by an edit.
    """
    if snapshot.price_version_id:
        yield service_snapshot_key(snapshot.service_id)
        yield service_snapshot_key(snapshot.slug)
