"""Making accounts and giving them roles, with the events that tell the other services."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from ams.identity.v1 import events_pb2
from ams_common import topics
from ams_common.clock import utc_now
from ams_common.database import Change, Database
from ams_common.ids import uuid7

from identity_svc import roles
from identity_svc.addresses import normalise_email
from identity_svc.clocks import Clock
from identity_svc.store import Store


async def become_consumer(store: Store, change: Change, email: str, name: str, now: datetime) -> UUID:
    """The address's account, with the consumer role. Nothing changes for who has it already."""
    user_id = await store.ensure_user(change.connection, email, name, now)
    if await store.grant_role(change.connection, user_id, "consumer", now):
        await publish_consumer(store, change, user_id)
    return user_id


async def become_merchant(
    store: Store,
    change: Change,
    invite_id: UUID,
    email: str,
    name: str,
    company_name: str,
    now: datetime,
) -> UUID | None:
    """The address's account, with the merchant role; the invite is used up. None when the invite is no
    longer good. Who is a merchant already stays what they are, and so does the invite."""
    user_id = await store.ensure_user(change.connection, email, name, now)
    if await store.grant_role(change.connection, user_id, "merchant", now):
        if not await store.accept_invite(change.connection, invite_id, user_id, now):
            return None
        await store.insert_merchant_profile(change.connection, user_id, company_name)
        await publish_merchant(store, change, user_id)
    return user_id


async def appoint_admins(database: Database, store: Store, emails: Sequence[str], clock: Clock) -> None:
    """Gives each address an account with the admin role, where it lacks it."""
    for email in map(normalise_email, emails):
        async with database.read() as connection:
            if await store.holds_role(connection, email, "admin"):
                continue
        async with database.change_by_system("admin.appoint", audited=False) as change:
            user_id = await store.ensure_user(change.connection, email, email.partition("@")[0], clock())
            # Another process may have been quicker; then there's nothing to tell of.
            if await store.grant_role(change.connection, user_id, "admin", clock()):
                change.audit("user", user_id, source="IDENTITY_ADMIN_EMAILS")


async def publish_merchant(store: Store, change: Change, user_id: UUID) -> asyncpg.Record:
    """Tell the whole present state of a merchant; returns its row."""
    merchant = await store.find_merchant(change.connection, user_id)
    assert merchant is not None, "every merchant has a profile"
    event = events_pb2.MerchantChanged(
        merchant_id=str(user_id),
        display_name=merchant["company_name"],
        slug=merchant["slug"],
        standing=roles.standing_of(merchant["standing"]),
    )
    _publish(change, user_id, events_pb2.IdentityEvent(merchant_changed=event))
    return merchant


async def publish_consumer(store: Store, change: Change, user_id: UUID) -> asyncpg.Record:
    """Tell the whole present state of a consumer; returns its row."""
    consumer = await store.find_consumer(change.connection, user_id)
    assert consumer is not None, "only of consumers"
    event = events_pb2.ConsumerChanged(
        consumer_id=str(user_id), standing=roles.standing_of(consumer["standing"])
    )
    _publish(change, user_id, events_pb2.IdentityEvent(consumer_changed=event))
    return consumer


def _publish(change: Change, user_id: UUID, event: events_pb2.IdentityEvent) -> None:
    event.event_id = str(uuid7())
    event.occurred_at.FromDatetime(utc_now())
    change.publish(topics.IDENTITY_EVENTS, str(user_id), event)
