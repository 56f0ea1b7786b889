"""What identity-svc does with Kafka events: it keeps the audit log of the whole system, and sends everybody
the mails that other services ask for."""

from collections.abc import Sequence
from dataclasses import dataclass

from ams.audit.v1.events_pb2 import AuditRecord
from ams.identity.v1.notifications_pb2 import Notification
from ams_common.clock import Clock
from ams_common.database import Change

from identity_svc.audit_log import AuditStore
from identity_svc.mails import MailQueue
from identity_svc.notifications import told_of
from identity_svc.store import Store


async def store_audit_records(change: Change[Store], records: Sequence[AuditRecord]) -> None:
    """Stores every record once, by its id. Our own come this way too: there is one path.

    Raises ValueError for a record whose id is none.
    """
    await AuditStore(change.connection).add(records)


@dataclass(frozen=True, slots=True)
class NotificationHandler:
    """Queues the mails of notifications."""

    mail_queue: MailQueue
    clock: Clock

    async def __call__(self, change: Change[Store], notifications: Sequence[Notification]) -> None:
        """Queues one mail for each id, ever.

        Raises ValueError for what isn't known: a kind of a later release, a user that there is none of.
        """
        now = self.clock()
        for notification in notifications:
            told = told_of(notification)
            address = await change.store.find_address(user_id=told.user_id)
            if address is None:
                raise ValueError(f"there is no user {told.user_id}")
            remembered = await change.store.remember_notification(
                notification_id=told.notification_id, now=now
            )
            if remembered is not None:
                await self.mail_queue.send_notification(
                    change.store, address, told.template, told.values, told.path, now
                )
