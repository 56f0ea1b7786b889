"""What identity-svc itself tells people, by the same way as every other service."""

from datetime import datetime
from typing import Any
from uuid import UUID

from ams.identity.v1.notifications_pb2 import Notification, StandingChanged
from ams_common import topics
from ams_common.clock import to_timestamp
from ams_common.database import Change
from ams_common.ids import uuid7

from identity_svc.roles import Transition


def tell(change: Change, user_id: UUID, now: datetime, **message: Any) -> None:
    """Tells somebody one message, which is given under its name in the contract."""
    notification = Notification(
        notification_id=str(uuid7()), user_id=str(user_id), occurred_at=to_timestamp(now), **message
    )
    change.publish(topics.NOTIFICATIONS, str(user_id), notification)


def tell_standing(change: Change, user_id: UUID, transition: Transition, reason: str, now: datetime) -> None:
    """Tells somebody that an admin has stopped them in a role, or lets them act in it again."""
    standing_changed = StandingChanged(role=transition.role, standing=transition.after, reason=reason)
    tell(change, user_id, now, standing_changed=standing_changed)
