"""A service held for a change, and as it is answered with after it."""

from datetime import datetime
from uuid import UUID

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams_common.context import current_user_id
from ams_common.database import Change
from ams_common.etags import check_etag

from catalog_svc import lifecycle
from catalog_svc.messages import STANDINGS, service_message
from catalog_svc.records import ServiceRecord, found
from catalog_svc.store import Store


async def lock_own(change: Change[Store], service_id: str, now: datetime, etag: str = "") -> ServiceRecord:
    """The calling merchant's service. Raises NotFoundError service_not_found for somebody else's,
    PermissionDeniedError merchant_suspended, and AbortedError etag_mismatch where it has another etag than is
    given."""
    record = found(await change.store.lock_service(UUID(service_id), current_user_id(), now))
    lifecycle.check_merchant_acts(STANDINGS[record.merchant_standing])
    await _check_etag(change.store, record, etag)
    return record


async def lock_any(change: Change[Store], service_id: str, now: datetime, etag: str = "") -> ServiceRecord:
    """A service for an admin. Raises NotFoundError service_not_found, AbortedError etag_mismatch."""
    record = found(await change.store.lock_service(UUID(service_id), None, now))
    await _check_etag(change.store, record, etag)
    return record


async def answer(store: Store, record: ServiceRecord) -> pb.Service:
    """The service with its newest revision."""
    revisions = await store.find_newest_revisions([record.service_id])
    return service_message(record, revisions.get(record.service_id))


async def _check_etag(store: Store, record: ServiceRecord, etag: str) -> None:
    if etag:
        check_etag(etag, await answer(store, record))
