"""What identity-svc does with Kafka events: it keeps the audit log of the whole system."""

import json
from collections.abc import Sequence
from uuid import UUID

from ams.audit.v1.events_pb2 import AuditRecord
from ams_common.clock import from_timestamp
from ams_common.database import Change

from identity_svc.store import Store


async def store_audit_records(change: Change[Store], records: Sequence[AuditRecord]) -> None:
    """Stores every record once, by its id. Our own come this way too: there is one path.

    Raises ValueError for a record whose id is none.
    """
    for record in records:
        await change.store.insert_audit_record(
            audit_id=UUID(record.audit_id),
            occurred_at=from_timestamp(record.occurred_at),
            actor=record.actor,
            action=record.action,
            resource=record.resource,
            resource_id=record.resource_id,
            details=json.dumps(dict(record.details)),
            request_id=record.request_id,
        )
