"""The SQL of notifications."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams.identity.v1 import notifications_service_pb2 as pb
from ams.identity.v1.notifications_service_pb2 import NotificationCategory
from ams_common.clock import to_timestamp
from ams_common.queries import QueryStore, column, many, page, run, value

from identity_svc.notifications.choices import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """Somebody to be told; what they chose for the category, None: nothing."""

    user_id: UUID
    email: str
    by_mail: bool | None
    in_app: bool | None

    def choice(self, category: NotificationCategory.ValueType) -> Choice | None:
        if self.by_mail is None or self.in_app is None:
            return None
        return Choice(category=category, by_mail=self.by_mail, in_app=self.in_app)


def notification_message(
    *,
    notification_id: UUID,
    kind: str,
    category: NotificationCategory.ValueType,
    title: str,
    text: str,
    path: str,
    occurred_at: datetime,
    created_at: datetime,
    read_at: datetime | None,
) -> pb.UserNotification:
    return pb.UserNotification(
        notification_id=str(notification_id),
        kind=kind,
        category=category,
        title=title,
        text=text,
        path=path,
        occurred_at=to_timestamp(occurred_at),
        created_at=to_timestamp(created_at),
        read_at=to_timestamp(read_at),
    )


class NotificationStore(QueryStore, package="identity_svc.notifications"):
    """What people are told in their account, and what they have chosen."""

    list_admin_ids = column(UUID)
    list_recipients = many(Recipient)
    insert_notification = run()
    list_notifications = page(notification_message)
    list_unread = page(notification_message)
    count_unread = value(int)
    mark_read = run()
    mark_all_read = run()
    list_choices = many(Choice)
    lock_choices = run()
    save_choice = run()
