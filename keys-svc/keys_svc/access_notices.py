"""What people are told of requests for access, and of its end."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID, uuid5

from ams.identity.v1.notifications_pb2 import AccessDecided, AccessEnded, AccessRequested, Notification
from ams_common import topics
from ams_common.database import Change
from ams_common.project_rights import ProjectRight, roles_with

from keys_svc.access_requests import APPROVED, CONSUMER, AccessRequest
from keys_svc.grants import Grant
from keys_svc.store import Store

# For ever the same: a notification is told once for its id.
_NOTIFICATIONS = UUID("5b9a6f6e-3a5e-5a86-8f43-7f0c4d5a9a11")
_ALL_ADMINS = ""


async def tell_requested(change: Change[Store], request: AccessRequest) -> None:
    """Tells whoever decides: the merchant where it approves by itself, else the admins."""
    policy = await change.store.access.find_access_policy(service_id=request.service_id)
    is_merchants = policy is not None and policy.merchant_approves
    name, _ = await _names(change, request.service_id)
    notification = Notification(
        access_requested=AccessRequested(access_request_id=str(request.access_request_id), service_name=name)
    )
    _tell(
        change,
        f"requested|{request.access_request_id}",
        str(request.merchant_id) if is_merchants else _ALL_ADMINS,
        request.requested_at,
        notification,
    )


async def tell_decided(change: Change[Store], request: AccessRequest) -> None:
    """Tells the consumer; of a project's request those of its members who may ask."""
    name, slug = await _names(change, request.service_id)
    decided = AccessDecided(
        access_request_id=str(request.access_request_id),
        service_name=name,
        service_slug=slug,
        is_approved=request.status == APPROVED,
        reason=request.reason,
    )
    for user_id in await _who_may_ask(change, request):
        cause = f"decided|{request.access_request_id}|{user_id}"
        _tell(change, cause, str(user_id), request.resolved_at, Notification(access_decided=decided))


async def tell_ended(change: Change[Store], grant: Grant) -> None:
    """Tells whoever pays, unless the consumer's side has ended it."""
    if grant.ended_by in (CONSUMER, None):
        return
    name, slug = await _names(change, grant.service_id)
    notification = Notification(
        access_ended=AccessEnded(
            service_name=name,
            service_slug=slug,
            ended_by=grant.ended_by or "",
            reason=grant.end_reason,
        )
    )
    _tell(change, f"ended|{grant.grant_id}", str(grant.consumer_id), grant.ended_at, notification)


async def _who_may_ask(change: Change[Store], request: AccessRequest) -> Sequence[UUID]:
    if request.project_id is None:
        return [request.consumer_id]
    return await change.store.access.list_members(
        project_id=request.project_id, roles=roles_with(ProjectRight.REQUEST_ACCESS)
    )


async def _names(change: Change[Store], service_id: UUID) -> tuple[str, str]:
    """A service's name and slug; of one that nothing was heard of yet the id has to do."""
    service = await change.store.find_service(service_id=service_id)
    return (service.name, service.slug) if service else (str(service_id), str(service_id))


def _tell(
    change: Change[Store], cause: str, user_id: str, at: datetime | None, notification: Notification
) -> None:
    notification.notification_id = str(uuid5(_NOTIFICATIONS, cause))
    notification.user_id = user_id
    if at is not None:
        notification.occurred_at.FromDatetime(at)
    change.publish(topics.NOTIFICATIONS, user_id, notification)
