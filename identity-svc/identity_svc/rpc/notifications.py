"""The RPCs about what a person was told, and which way it comes."""

from dataclasses import dataclass, replace
from uuid import UUID

from ams.identity.v1 import notifications_service_pb2 as pb
from ams.identity.v1 import notifications_service_pb2_grpc as rpc
from ams_common.clock import Clock, from_timestamp, to_timestamp
from ams_common.context import current_user_id
from ams_common.database import Change, Database
from ams_common.errors import FieldViolation, InvalidArgumentError
from ams_common.field_changes import field_changes
from ams_common.interceptors import Context
from ams_common.paging import page_request

from identity_svc.notifications import choices
from identity_svc.notifications.store import NotificationStore
from identity_svc.notifications.unsubscribing import subscription_of
from identity_svc.store import Store
from identity_svc.vault import Vault

_MOST_COUNTED = 100


@dataclass(kw_only=True, eq=False, repr=False)
class NotificationsService(rpc.NotificationsServiceServicer):
    database: Database[Store]
    vault: Vault
    clock: Clock

    async def ListNotifications(
        self, request: pb.ListNotificationsRequest, context: Context
    ) -> pb.ListNotificationsResponse:
        user_id, category = current_user_id(), request.category or None
        async with self.database.read() as opened:
            store = NotificationStore(opened.connection)
            listing = store.list_unread if request.unread_only else store.list_notifications
            page = await listing(page_request(request), user_id=user_id, category=category)
        return pb.ListNotificationsResponse(notifications=page.rows, next_page_token=page.next_token)

    async def GetUnreadCount(self, request: pb.GetUnreadCountRequest, context: Context) -> pb.UnreadCount:
        async with self.database.read() as opened:
            return await _unread(NotificationStore(opened.connection))

    async def MarkRead(self, request: pb.MarkReadRequest, context: Context) -> pb.UnreadCount:
        async with self.database.change() as change:
            store = NotificationStore(change.connection)
            marked = await store.mark_read(
                user_id=current_user_id(),
                notification_ids=list(map(UUID, request.notification_ids)),
                now=self.clock(),
            )
            return await _marked(change, store, marked)

    async def MarkAllRead(self, request: pb.MarkAllReadRequest, context: Context) -> pb.UnreadCount:
        try:
            until = from_timestamp(request.until)
        except (ValueError, OverflowError):
            violation = FieldViolation("until", "must lie within the years 1 to 9999")
            raise InvalidArgumentError("invalid_argument", "until is no moment.", [violation]) from None
        async with self.database.change() as change:
            store = NotificationStore(change.connection)
            marked = await store.mark_all_read(user_id=current_user_id(), until=until, now=self.clock())
            return await _marked(change, store, marked)

    async def GetChoices(self, request: pb.GetChoicesRequest, context: Context) -> pb.NotificationChoices:
        async with self.database.read() as opened:
            return await _choices(NotificationStore(opened.connection), current_user_id())

    async def UpdateChoices(
        self, request: pb.UpdateChoicesRequest, context: Context
    ) -> pb.NotificationChoices:
        user_id, wanted = current_user_id(), choices.wanted(request.choices)
        async with self.database.change() as change:
            return await self._save(change, user_id, *wanted)

    async def GetUnsubscription(
        self, request: pb.GetUnsubscriptionRequest, context: Context
    ) -> pb.UnsubscribeResponse:
        return pb.UnsubscribeResponse(category=subscription_of(request.token, self.vault).category)

    async def Unsubscribe(self, request: pb.UnsubscribeRequest, context: Context) -> pb.UnsubscribeResponse:
        subscription = subscription_of(request.token, self.vault)
        user_id, category = subscription.user_id, subscription.category
        async with self.database.change() as change:
            store = NotificationStore(change.connection)
            await store.lock_choices(user_id=user_id)
            chosen = {choice.category: choice for choice in await store.list_choices(user_id=user_id)}
            before = choices.in_force(category, chosen.get(category))
            await self._save(change, user_id, replace(before, by_mail=False))
        return pb.UnsubscribeResponse(category=category)

    async def ListUndeliveredMails(
        self, request: pb.ListUndeliveredMailsRequest, context: Context
    ) -> pb.ListUndeliveredMailsResponse:
        async with self.database.read() as store:
            page = await store.list_undelivered_mails(page_request(request))
            measured = await store.measure_mails()
        assert measured is not None, "counting has a row"
        return pb.ListUndeliveredMailsResponse(
            mails=page.rows,
            next_page_token=page.next_token,
            waiting=measured.waiting,
            waiting_since=to_timestamp(measured.oldest_at),
        )

    async def _save(
        self, change: Change[Store], user_id: UUID, *wanted: choices.Choice
    ) -> pb.NotificationChoices:
        store = NotificationStore(change.connection)
        await store.lock_choices(user_id=user_id)
        before = await _choices(store, user_id)
        for choice in wanted:
            await store.save_choice(
                user_id=user_id,
                category=choice.category,
                by_mail=choice.by_mail,
                in_app=choice.in_app,
                now=self.clock(),
            )
        after = await _choices(store, user_id)
        change.audit("user", user_id, field_changes(before, after))
        return after


async def _unread(store: NotificationStore) -> pb.UnreadCount:
    return pb.UnreadCount(unread=await store.count_unread(user_id=current_user_id(), most=_MOST_COUNTED))


async def _marked(change: Change[Store], store: NotificationStore, marked: int) -> pb.UnreadCount:
    if marked:
        change.audit("notifications", current_user_id(), marked=str(marked))
    else:
        change.nothing_to_audit()
    return await _unread(store)


async def _choices(store: NotificationStore, user_id: UUID) -> pb.NotificationChoices:
    chosen = await store.list_choices(user_id=user_id)
    return pb.NotificationChoices(choices=map(choices.choice_message, choices.all_in_force(chosen)))
