"""What a consumer is told of the end of its access."""

from uuid import UUID, uuid5

from ams.identity.v1.notifications_pb2 import AccessEnded, Notification
from ams_common import topics
from ams_common.clock import to_timestamp
from ams_common.database import Change

from keys_svc.access_requests import CONSUMER
from keys_svc.grants import Grant
from keys_svc.store import Store

# For ever the same: a notification is told once for its id.
_NOTIFICATIONS = UUID("5b9a6f6e-3a5e-5a86-8f43-7f0c4d5a9a11")


async def tell_ended(change: Change[Store], grant: Grant) -> None:
    """Tells whoever pays, unless the consumer's side has ended it."""
    if grant.ended_by in (CONSUMER, None):
        return
    service = await change.store.find_service(service_id=grant.service_id)
    notification = Notification(
        notification_id=str(uuid5(_NOTIFICATIONS, f"ended|{grant.grant_id}")),
        user_id=str(grant.consumer_id),
        occurred_at=to_timestamp(grant.ended_at),
        access_ended=AccessEnded(
            # Of a service that nothing was heard of yet the id has to do.
            service_name=service.name if service else str(grant.service_id),
            service_slug=service.slug if service else str(grant.service_id),
            ended_by=grant.ended_by or "",
            reason=grant.end_reason,
        ),
    )
    change.publish(topics.NOTIFICATIONS, str(grant.consumer_id), notification)
