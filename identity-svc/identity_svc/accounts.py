"""Making accounts, giving them roles and changing a role's standing, each with its event for the other
services."""

import re
import secrets
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1.events_pb2 import ConsumerChanged, IdentityEvent, MerchantChanged
from ams_common import topics
from ams_common.clock import Clock, utc_now
from ams_common.database import Change, Database
from ams_common.errors import FailedPreconditionError
from ams_common.field_changes import field_change
from ams_common.ids import uuid7

from identity_svc.addresses import normalise_email
from identity_svc.platform_settings import SettingsStore, require_admissible
from identity_svc.roles import Transition, role_not_found
from identity_svc.store import Store
from identity_svc.team import TeamStore
from identity_svc.token_ends import renew_tokens

_MAX_SLUG_LENGTH = 40
_LAST_SLUG_NUMBER = 9


async def become_consumer(change: Change[Store], email: str, name: str, now: datetime) -> UUID:
    """The address's account, with the consumer role. Nothing changes for who has it already.

    Raises FailedPreconditionError registration_closed or mail_domain_not_allowed for an address that has no
    account and may not have one.
    """
    if await change.store.find_user_id(email=email) is None:
        require_admissible(await SettingsStore(change.connection).find_settings(), email)
    user_id = await change.store.ensure_user(email, name, now)
    if await change.store.grant_role(user_id=user_id, role="consumer", now=now):
        await publish_consumer(change, user_id)
    return user_id


async def become_merchant(
    change: Change[Store], invite_id: UUID, email: str, name: str, company_name: str, now: datetime
) -> UUID | None:
    """The address's account, with the merchant role; the invite is used up. None when the invite is no
    longer good. Who is a merchant already stays what they are, and so does the invite."""
    user_id = await change.store.ensure_user(email, name, now)
    if await change.store.grant_role(user_id=user_id, role="merchant", now=now):
        if not await change.store.accept_invite(invite_id=invite_id, user_id=user_id, now=now):
            return None
        for slug in slug_candidates(company_name):
            if await change.store.insert_merchant_profile(
                user_id=user_id, company_name=company_name, slug=slug
            ):
                break
        await publish_merchant(change, user_id)
    return user_id


async def appoint_admins(database: Database[Store], emails: Sequence[str], clock: Clock) -> None:
    """Gives each address an account with the admin role, where it lacks it."""
    for email in map(normalise_email, emails):
        async with database.change_by_system("admin.appoint") as change:
            # Looked at first, so that an address that is an admin's already isn't written to at each start.
            is_settled = await change.store.holds_role(email=email, role="admin")
            if is_settled or await _stays_dismissed(change, email):
                change.nothing_to_audit()
                continue
            user_id = await change.store.ensure_user(email, email.partition("@")[0], clock())
            if await change.store.grant_role(user_id=user_id, role="admin", now=clock()):
                change.audit("user", user_id, source="IDENTITY_ADMIN_EMAILS")
            else:
                change.nothing_to_audit()  # another process that started with us was quicker


async def _stays_dismissed(change: Change[Store], email: str) -> bool:
    """Whether somebody was dismissed, and there are admins who could invite them again."""
    team = TeamStore(change.connection)
    return await team.was_dismissed(email=email) and bool(await team.lock_admins())


async def change_standing(change: Change[Store], transition: Transition, user_id: UUID, reason: str) -> None:
    """Makes the transition and audits it; access tokens that say otherwise end.

    Raises NotFoundError for who doesn't hold the role, FailedPreconditionError from another standing.
    """
    # Locked until the commit: events of one user go out in the order of their changes.
    standing = await change.store.lock_role(user_id=user_id, role=transition.role)
    if standing is None:
        raise role_not_found(transition.role)
    if standing != transition.before:
        raise FailedPreconditionError(transition.wrong_standing_code, transition.wrong_standing_message)
    await change.store.set_standing(user_id=user_id, role=transition.role, standing=transition.after)
    changes = [field_change("standing", transition.before, transition.after)]
    change.audit(transition.role, user_id, changes, reason=reason)
    await renew_tokens(change, user_id, utc_now())


async def publish_merchant(change: Change[Store], user_id: UUID) -> pb.Merchant:
    """Publishes the whole present state of a merchant, whose standing is new, and returns it."""
    merchant = await change.store.find_merchant(user_id=user_id)
    assert merchant is not None, "every merchant has a profile"
    event = MerchantChanged(
        merchant_id=merchant.merchant_id,
        display_name=merchant.company_name,
        slug=merchant.slug,
        standing=merchant.standing,
        standing_version=await change.store.draw_standing_version(user_id, "merchant"),
    )
    _publish(change, user_id, IdentityEvent(merchant_changed=event))
    return merchant


async def publish_consumer(change: Change[Store], user_id: UUID) -> pb.Consumer:
    """Publishes the whole present state of a consumer, whose standing is new, and returns it."""
    consumer = await change.store.find_consumer(user_id=user_id)
    assert consumer is not None, "only of consumers"
    event = ConsumerChanged(
        consumer_id=consumer.consumer_id,
        standing=consumer.standing,
        standing_version=await change.store.draw_standing_version(user_id, "consumer"),
    )
    _publish(change, user_id, IdentityEvent(consumer_changed=event))
    return consumer


def _publish(change: Change[Store], user_id: UUID, event: IdentityEvent) -> None:
    event.event_id = str(uuid7())
    event.occurred_at.FromDatetime(utc_now())
    change.publish(topics.IDENTITY_EVENTS, str(user_id), event)


def base_slug(company_name: str) -> str:
    """Lower-case ASCII letters, digits and single hyphens; "merchant" when nothing of the name remains."""
    ascii_text = unicodedata.normalize("NFKD", company_name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")[:_MAX_SLUG_LENGTH].strip("-")
    return slug or "merchant"


def slug_candidates(company_name: str) -> Iterator[str]:
    """Slugs to try for a merchant, who keeps the first that is free: the nicest first, without end."""
    base = base_slug(company_name)
    yield base
    yield from (f"{base}-{number}" for number in range(2, _LAST_SLUG_NUMBER + 1))
    while True:
        yield f"{base}-{secrets.token_hex(4)}"
