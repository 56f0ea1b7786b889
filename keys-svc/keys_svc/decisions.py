"""A decision on an access request, whoever takes it: once, and what it gives comes with it."""

from uuid import UUID

from ams_common.clock import utc_now
from ams_common.database import Change
from ams_common.errors import FailedPreconditionError
from ams_common.field_changes import field_change
from ams_common.ids import uuid7

from keys_svc import access_requests
from keys_svc.access_requests import AccessRequest
from keys_svc.store import Store


async def decide(
    change: Change[Store], request: AccessRequest, status: str, reason: str, resolver: str, user_id: UUID
) -> AccessRequest:
    """Resolves a request that is locked, with its consumer locked too: an approval makes the grant.

    Raises FailedPreconditionError access_request_not_pending.
    """
    access_requests.require_pending(request)
    store = change.store.access
    resolved = await store.resolve_access_request(
        access_request_id=request.access_request_id,
        status=status,
        reason=reason,
        resolved_at=utc_now(),
        resolved_by=user_id,
        resolver=resolver,
    )
    assert resolved is not None, "it is locked, and pending"
    if status == access_requests.APPROVED:
        await store.add_grant(
            grant_id=uuid7(),
            consumer_id=resolved.consumer_id,
            project_id=resolved.project_id,
            service_id=resolved.service_id,
            merchant_id=resolved.merchant_id,
            access_request_id=resolved.access_request_id,
            granted_at=resolved.resolved_at,
        )
    change.audit(
        "access_request",
        resolved.access_request_id,
        [field_change("status", request.status, status)],
        consumer_id=str(resolved.consumer_id),
        service_id=str(resolved.service_id),
        reason=reason,
        **({"project_id": str(resolved.project_id)} if resolved.project_id else {}),
    )
    return access_requests.found(
        await store.find_access_request(access_request_id=resolved.access_request_id)
    )


async def lock_request(change: Change[Store], access_request_id: UUID) -> AccessRequest:
    """The request and its consumer, locked in the order in which all do: the consumer first.

    Raises NotFoundError access_request_not_found, FailedPreconditionError project_changed.
    """
    store = change.store.access
    seen = access_requests.found(await store.find_access_request(access_request_id=access_request_id))
    # Without the lock the consumer could ask again between the end of this request and its grant.
    await change.store.lock_consumer(seen.consumer_id)
    locked = access_requests.found(await store.lock_access_request(access_request_id=access_request_id))
    if locked.consumer_id != seen.consumer_id:
        raise FailedPreconditionError("project_changed", "The project was just handed over. Try again.")
    return locked
