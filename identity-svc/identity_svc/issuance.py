"""Sessions and their tokens: begun when an address is proven, carried on by refresh tokens."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1.events_pb2 import Standing
from ams.policy.v1.policy_pb2 import ADMIN, Role
from ams_common.clock import to_timestamp
from ams_common.errors import UnauthenticatedError
from ams_common.tokens import ACCESS_TOKEN_TTL, sign_user_token
from google.protobuf.timestamp_pb2 import Timestamp

from identity_svc import roles
from identity_svc.keyring import Keyring
from identity_svc.store import Store
from identity_svc.vault import token_hash

# A deployment may set less.
LONGEST_SESSION = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class SessionLives:
    """How long sessions last from signing in, however often they are refreshed."""

    usual: timedelta = LONGEST_SESSION
    admins: timedelta = timedelta(hours=12)

    def end(self, begun_at: datetime, held: Collection[Role.ValueType]) -> datetime:
        """Of a session of an account with these roles, whichever it acts in: it may change to any."""
        return begun_at + (min(self.usual, self.admins) if ADMIN in held else self.usual)


def refresh_token_invalid() -> UnauthenticatedError:
    """The same for one that was never given out."""
    return UnauthenticatedError("refresh_token_invalid", "This session has ended. Sign in again.")


@dataclass(frozen=True, slots=True)
class SessionIssuer:
    """Issues what a Session answer holds."""

    store: Store
    keyring: Keyring
    lives: SessionLives = SessionLives()

    async def begin(
        self, connection: asyncpg.Connection, user_id: UUID, wanted: Role.ValueType, now: datetime
    ) -> pb.Session:
        """A new session, in the role `wanted` if the account may act in it."""
        account = await self._account(connection, user_id)
        held = roles.ordered_roles(account["roles"])
        active = roles.active_role(held, wanted)
        expires_at = self.lives.end(now, held)
        session_id = await self.store.insert_session(
            connection, user_id, roles.role_text(active), now, expires_at
        )
        return await self._issue(connection, session_id, account, active, now, expires_at)

    async def carry_on(
        self,
        connection: asyncpg.Connection,
        session: asyncpg.Record,
        used_token_hash: bytes,
        wanted: Role.ValueType,
        now: datetime,
    ) -> pb.Session | None:
        """New tokens for the old one; None when the account may not act in the role `wanted`.

        `wanted` unspecified: the session's role, or another one where that has been taken away. Raises
        UnauthenticatedError when the account's present roles don't let the session last until now.
        """
        account = await self._account(connection, session["user_id"])
        held = roles.ordered_roles(account["roles"])
        expires_at = self.lives.end(session["created_at"], held)
        if expires_at <= now:
            raise refresh_token_invalid()
        if wanted and wanted not in held:
            return None
        present = roles.role_of(session["active_role"]) if session["active_role"] else Role.ROLE_UNSPECIFIED
        active = roles.active_role(held, wanted or present)
        await self.store.refresh_session(
            connection, session["session_id"], used_token_hash, roles.role_text(active), now, expires_at
        )
        return await self._issue(connection, session["session_id"], account, active, now, expires_at)

    async def _account(self, connection: asyncpg.Connection, user_id: UUID) -> asyncpg.Record:
        account = await self.store.find_account(connection, user_id)
        assert account is not None, "users are never deleted"
        return account

    async def _issue(
        self,
        connection: asyncpg.Connection,
        session_id: UUID,
        account: asyncpg.Record,
        active: Role.ValueType,
        now: datetime,
        expires_at: datetime,
    ) -> pb.Session:
        refresh_token = secrets.token_urlsafe(32)
        await self.store.insert_refresh_token(connection, session_id, token_hash(refresh_token), now)
        held = roles.ordered_roles(account["roles"])
        return pb.Session(
            access_token=sign_user_token(self.keyring.current(), account["user_id"], held, active, now),
            access_token_expires_at=to_timestamp(now + ACCESS_TOKEN_TTL),
            refresh_token=refresh_token,
            refresh_token_expires_at=to_timestamp(expires_at),
            user=user_message(account, active),
        )


def user_message(account: asyncpg.Record, active: Role.ValueType) -> pb.User:
    """The account with the roles in which it may act now."""
    return pb.User(
        user_id=str(account["user_id"]),
        email=account["email"],
        name=account["name"],
        roles=roles.ordered_roles(account["roles"]),
        active_role=active,
        created_at=to_timestamp(account["created_at"]),
        merchant_standing=_standing(account["merchant_standing"]),
        consumer_standing=_standing(account["consumer_standing"]),
        merchant_standing_since=_moment(account["merchant_standing_since"]),
        consumer_standing_since=_moment(account["consumer_standing_since"]),
    )


def _moment(value: datetime | None) -> Timestamp | None:
    return to_timestamp(value) if value is not None else None


def _standing(text: str | None) -> Standing.ValueType:
    """The standing in a role that the account may not have."""
    return roles.standing_of(text) if text is not None else Standing.STANDING_UNSPECIFIED
