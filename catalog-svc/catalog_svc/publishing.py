"""What a change to a service tells others, with its commit."""

from datetime import datetime
from uuid import UUID

from ams_common import topics
from ams_common.database import Change
from ams_common.snapshots import service_snapshot_key

from catalog_svc.messages import price_started_event, service_changed_event, snapshot_message
from catalog_svc.records import ServiceRecord


def publish_service(change: Change, record: ServiceRecord) -> None:
    """Tells the other services of the record's present state."""
    event = service_changed_event(record, record.updated_at)
    change.publish(topics.CATALOG_EVENTS, str(record.service_id), event)


def publish_price(change: Change, record: ServiceRecord, price_version_id: UUID, now: datetime) -> None:
    """Tells the other services that the record's price is in force from `now`."""
    event = price_started_event(record.service_id, price_version_id, record.price, now)
    change.publish(topics.CATALOG_EVENTS, str(record.service_id), event)


def write_snapshot(change: Change, record: ServiceRecord) -> None:
    """Gives the gateways the snapshot, under both names that a caller may know the service by."""
    snapshot = snapshot_message(record)
    change.snapshot(service_snapshot_key(record.service_id), snapshot)
    change.snapshot(service_snapshot_key(record.slug), snapshot)
