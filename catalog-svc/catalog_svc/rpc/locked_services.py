"""A service held for a change, and as it is answered with after it."""

from datetime import datetime
from uuid import UUID

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams_common.context import current_user_id
from ams_common.database import Change

from catalog_svc import lifecycle
from catalog_svc.messages import STANDINGS, service_message
from catalog_svc.records import ServiceRecord, found
from catalog_svc.store import Store


async def lock_own(change: Change[Store], service_id: str, now: datetime) -> ServiceRecord:
    """The calling merchant's service. Raises NotFoundError service_not_found for somebody else's, and
    PermissionDeniedError merchant_suspended."""
    record = found(await change.store.lock_service(UUID(service_id), current_user_id(), now))
    lifecycle.check_merchant_acts(STANDINGS[record.merchant_standing])
    return record


async def lock_any(change: Change[Store], service_id: str, now: datetime) -> ServiceRecord:
    """A service for an admin. Raises NotFoundError service_not_found."""
    return found(await change.store.lock_service(UUID(service_id), None, now))


async def answer(store: Store, record: ServiceRecord) -> pb.Service:
    """The service with its newest revision."""
    revisions = await store.find_newest_revisions([record.service_id])
    return service_message(record, revisions.get(record.service_id))
