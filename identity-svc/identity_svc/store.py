"""The only module that runs SQL: what each query is, queries.sql says."""

from datetime import datetime
from uuid import UUID

from ams.identity.v1.identity_service_pb2 import Revisions
from ams_common.ids import uuid7
from ams_common.queries import QueryStore, many, maybe_value, one, page, run, value

from identity_svc.messages import (
    consumer_message,
    merchant_message,
    standing_change_message,
    undelivered_mail_message,
)
from identity_svc.records import Account, Challenge, Invite, Mail, SealedKey, Session, WaitingMails


class Store(QueryStore, package="identity_svc"):
    """Accounts, invites, challenges and sessions; signing keys, mail and retention."""

    find_account = one(Account)
    find_user_id = maybe_value(UUID)
    find_federated_user_id = maybe_value(UUID)
    link_federated_identity = run()
    holds_role = value(bool)
    _insert_user = maybe_value(UUID)
    grant_role = run()
    insert_merchant_profile = run()
    lock_role = maybe_value(str)
    set_standing = run()
    _lock_standing_versions = run()
    _draw_standing_version = value(int)
    _find_revisions = one(Revisions)
    list_standing_changes = many(standing_change_message)
    save_standing_reader = run()
    note_standing_reader = run()
    find_reading = maybe_value(str)
    find_merchant = one(merchant_message)
    list_merchants = page(merchant_message)
    find_consumer = one(consumer_message)
    find_consumers = many(consumer_message)
    list_consumers = page(consumer_message)

    insert_invite = one(Invite)
    lock_invite = one(Invite)
    revoke_invite = one(Invite)
    renew_invite = one(Invite)
    find_open_invite = maybe_value(UUID)
    accept_invite = run()
    list_invites = page(Invite)

    lock_address = run()
    insert_challenge = run()
    spend_attempt = one(Challenge)
    expire_challenges_of_invite = run()
    use_challenge = run()

    insert_session = run()
    insert_refresh_token = run()
    lock_session = one(Session)
    use_refresh_token = run()
    refresh_session = run()

    lock_signing_keys = run()
    list_signing_keys = many(SealedKey)
    insert_signing_key = run()
    delete_signing_keys = run()

    insert_mail = run()
    insert_mail_to_user = run()
    remember_notification = maybe_value(UUID)
    find_address = maybe_value(str)
    announce_mail = run()
    claim_mails = many(Mail)
    finish_mail = run()
    postpone_mail = run()
    measure_mails = one(WaitingMails)
    list_undelivered_mails = page(undelivered_mail_message)

    purge_challenges = run()
    purge_codes = run()
    purge_factor_challenges = run()
    purge_allowances = run()
    purge_tries = run()
    purge_sessions = run()
    purge_token_ends = run()
    purge_tokens = run()
    purge_mails = run()
    purge_notifications = run()
    purge_read_notifications = run()
    purge_user_notifications = run()
    purge_project_invitations = run()

    async def ensure_user(self, email: str, name: str, now: datetime) -> UUID:
        """The account of this address, made if there is none. Of two that make it at once, one does."""
        user_id = await self._insert_user(user_id=uuid7(), email=email, name=name, now=now)
        user_id = user_id or await self.find_user_id(email=email)
        assert user_id is not None, "users are never deleted"
        return user_id

    async def find_revisions(self) -> Revisions:
        """Of what other services follow."""
        revisions = await self._find_revisions()
        assert revisions is not None, "a row of aggregates"
        return revisions

    async def draw_standing_version(self, user_id: UUID, role: str) -> int:
        """Gives the role's standing, as it is now, its next version. To be called last in a transaction:
        everybody else whose standing changes waits for its end."""
        # A statement of its own: in one, the version might be drawn before the lock is had.
        await self._lock_standing_versions()
        return await self._draw_standing_version(user_id=user_id, role=role)
