"""What identity-svc does with Kafka events: it keeps the audit log of the whole system, and tells
people what other services ask it to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ams.audit.v1.events_pb2 import AuditRecord
from ams.identity.v1.notifications_pb2 import Notification
from ams_common.clock import Clock
from ams_common.database import Change

from identity_svc.audit_log import AuditStore
from identity_svc.mails import MailQueue
from identity_svc.notifications.choices import in_force
from identity_svc.notifications.store import NotificationStore, Recipient
from identity_svc.notifications.telling import Told, told_of, word
from identity_svc.store import Store


async def store_audit_records(change: Change[Store], records: Sequence[AuditRecord]) -> None:
    """Stores every record once, by its id. Our own come this way too: there is one path.

    Raises ValueError for a record whose id is none.
    """
    await AuditStore(change.connection).add(records)


@dataclass(frozen=True, slots=True)
class NotificationHandler:
    """Tells people: in their account, and by mail, as each has chosen."""

    mail_queue: MailQueue
    clock: Clock

    async def __call__(self, change: Change[Store], notifications: Sequence[Notification]) -> None:
        """Each id is told once, ever.

        Raises ValueError for what isn't known: a kind of a later release, a user that there is none of.
        """
        now, store = self.clock(), NotificationStore(change.connection)
        for notification in notifications:
            told = told_of(notification)
            user_ids = [told.user_id] if told.user_id else await store.list_admin_ids()
            recipients = await store.list_recipients(user_ids=user_ids, category=told.kind.category)
            if told.user_id and not recipients:
                raise ValueError(f"there is no user {told.user_id}")
            remembered = await change.store.remember_notification(
                notification_id=told.notification_id, now=now
            )
            if remembered is None:
                continue
            for recipient in recipients:
                await self._tell(change, store, told, recipient, now)

    async def _tell(
        self, change: Change[Store], store: NotificationStore, told: Told, recipient: Recipient, now: datetime
    ) -> None:
        category = told.kind.category
        choice = in_force(category, recipient.choice(category))
        if choice.in_app:
            await store.insert_notification(
                user_id=recipient.user_id,
                notification_id=told.notification_id,
                kind=told.name,
                category=category,
                title=word(told.kind.title, told.values),
                text=word(told.kind.text, told.values),
                path=told.path,
                occurred_at=told.occurred_at or now,
                now=now,
            )
        if choice.by_mail and told.kind.is_mailed:
            await self.mail_queue.send_notification(change.store, recipient, told, now)
