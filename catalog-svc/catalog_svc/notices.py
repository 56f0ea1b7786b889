"""What people are told of services that wait for approval, and of what was decided."""

from collections.abc import Mapping
from datetime import datetime

from ams.identity.v1.notifications_pb2 import ListingDecided, ListingSubmitted, Notification
from ams_common import topics
from ams_common.database import Change
from ams_common.ids import uuid7

from catalog_svc.records import ServiceRecord

# By the action of lifecycle.TRANSITIONS; what the merchant does itself is told to nobody.
_DECISIONS: Mapping[str, str] = {
    "approve": "approved",
    "reject": "rejected",
    "suspend": "suspended",
    "reinstate": "reinstated",
}
_ALL_ADMINS = ""


def tell_moved(change: Change, record: ServiceRecord, action: str, reason: str, now: datetime) -> None:
    """Tells the admins of a service that waits, and the merchant of a decision."""
    if action == "submit":
        tell_submitted(change, record, now)
    elif action in _DECISIONS:
        tell_decided(change, record, _DECISIONS[action], reason, now)


def tell_submitted(
    change: Change, record: ServiceRecord, now: datetime, *, is_revision: bool = False
) -> None:
    """Tells all admins of a service, or of changes to a live one, that wait for them."""
    submitted = ListingSubmitted(
        service_id=str(record.service_id),
        service_name=record.name,
        merchant_name=record.merchant_name,
        is_revision=is_revision,
    )
    _tell(change, _ALL_ADMINS, Notification(listing_submitted=submitted), now)


def tell_decided(
    change: Change,
    record: ServiceRecord,
    decision: str,
    reason: str,
    now: datetime,
    *,
    is_revision: bool = False,
) -> None:
    """Tells the merchant what an admin has decided; `decision` as ListingDecided has it."""
    decided = ListingDecided(
        service_id=str(record.service_id),
        service_name=record.name,
        decision=decision,
        reason=reason,
        is_revision=is_revision,
    )
    _tell(change, str(record.merchant_id), Notification(listing_decided=decided), now)


def _tell(change: Change, user_id: str, notification: Notification, now: datetime) -> None:
    notification.notification_id = str(uuid7())
    notification.user_id = user_id
    notification.occurred_at.FromDatetime(now)
    change.publish(topics.NOTIFICATIONS, user_id, notification)
