"""Sessions and their tokens: begun when an address is proven, kept alive by refresh tokens."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, Role
from ams_common.clock import to_timestamp
from ams_common.context import current_client_address, current_client_device
from ams_common.errors import PermissionDeniedError, UnauthenticatedError
from ams_common.ids import uuid7
from ams_common.tokens import ACCESS_TOKEN_TTL, sign_user_token

from identity_svc import roles
from identity_svc.keyring import Keyring
from identity_svc.messages import user_message
from identity_svc.records import Account, Session
from identity_svc.store import Store
from identity_svc.vault import token_hash

# A deployment may set less.
LONGEST_SESSION = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class SessionLifetimes:
    """How long sessions last from signing in, however often they are refreshed."""

    usual: timedelta = LONGEST_SESSION
    admins: timedelta = timedelta(hours=12)

    def end(self, begun_at: datetime, held: Collection[Role.ValueType]) -> datetime:
        """When a session ends of an account with these roles, whichever it acts in: it may change to any."""
        return begun_at + (min(self.usual, self.admins) if ADMIN in held else self.usual)


def refresh_token_invalid() -> UnauthenticatedError:
    """One answer for a token whose session has ended, and for one that was never given out."""
    return UnauthenticatedError("refresh_token_invalid", "This session has ended. Sign in again.")


@dataclass(frozen=True, slots=True)
class SessionIssuer:
    """Makes what a Session answer holds, in the transaction of the given store."""

    keyring: Keyring
    lifetimes: SessionLifetimes = SessionLifetimes()
    admins_need_second_factor: bool = False

    def is_second_factor_needed(self, account: Account) -> bool:
        """Whether the account can act in all of its roles only with a second factor."""
        return self.admins_need_second_factor and "admin" in account.roles

    def held(self, account: Account, second_factor_at: datetime | None) -> Sequence[Role.ValueType]:
        """The roles that the account may act in. `second_factor_at`: when a second factor was proven for the
        session, or for the one that a personal access token was made in."""
        held = roles.ordered_roles(account.roles)
        if second_factor_at is None and self.is_second_factor_needed(account):
            return [role for role in held if role != ADMIN]
        return held

    async def begin(
        self,
        store: Store,
        user_id: UUID,
        wanted: Role.ValueType,
        now: datetime,
        *,
        second_factor_at: datetime | None = None,
    ) -> pb.Session:
        """A new session, in the role `wanted` if the account may act in it. `second_factor_at`: when a second
        factor was proven for it."""
        account = await _account(store, user_id)
        held = self.held(account, second_factor_at)
        active = roles.active_role(held, wanted)
        session_id, expires_at = uuid7(), self.lifetimes.end(now, roles.ordered_roles(account.roles))
        await store.insert_session(
            session_id=session_id,
            user_id=user_id,
            active_role=roles.role_text(active),
            now=now,
            expires_at=expires_at,
            device=current_client_device(),
            client_address=current_client_address(),
            second_factor_at=second_factor_at,
        )
        return await self._issue(store, session_id, account, held, active, now, expires_at)

    async def refresh(
        self, store: Store, session: Session, used_token_hash: bytes, wanted: Role.ValueType, now: datetime
    ) -> pb.Session:
        """New tokens for the used one; the session goes on until its end, which a new role may have moved.

        `wanted` unspecified: the session's role, or another one where that has been taken away. Raises
        PermissionDeniedError when the account may not act in the role `wanted`, UnauthenticatedError when
        its present roles don't let the session last until now.
        """
        account = await _account(store, session.user_id)
        held = self.held(account, session.second_factor_at)
        expires_at = self.lifetimes.end(session.created_at, roles.ordered_roles(account.roles))
        if expires_at <= now:
            raise refresh_token_invalid()
        if wanted and wanted not in held:
            raise PermissionDeniedError("role_required", "Your account doesn't have this role.")
        present = roles.role_of(session.active_role) if session.active_role else Role.ROLE_UNSPECIFIED
        active = roles.active_role(held, wanted or present)
        await store.use_refresh_token(token_hash=used_token_hash, now=now)
        await store.refresh_session(
            session_id=session.session_id,
            active_role=roles.role_text(active),
            expires_at=expires_at,
            now=now,
            device=current_client_device(),
            client_address=current_client_address(),
        )
        return await self._issue(store, session.session_id, account, held, active, now, expires_at)

    async def _issue(
        self,
        store: Store,
        session_id: UUID,
        account: Account,
        held: Sequence[Role.ValueType],
        active: Role.ValueType,
        now: datetime,
        expires_at: datetime,
    ) -> pb.Session:
        refresh_token = secrets.token_urlsafe(32)
        await store.insert_refresh_token(session_id=session_id, token_hash=token_hash(refresh_token), now=now)
        access_token = sign_user_token(
            self.keyring.current(),
            account.user_id,
            held,
            active,
            now,
            credential=f"session:{session_id}",
            generation=account.token_generation,
            expires_at=expires_at,
        )
        return pb.Session(
            access_token=access_token,
            access_token_expires_at=to_timestamp(min(now + ACCESS_TOKEN_TTL, expires_at)),
            refresh_token=refresh_token,
            refresh_token_expires_at=to_timestamp(expires_at),
            user=user_message(
                account, active, held, self.is_second_factor_needed(account) and ADMIN not in held
            ),
        )


async def _account(store: Store, user_id: UUID) -> Account:
    account = await store.find_account(user_id=user_id)
    assert account is not None, "users are never deleted"
    return account
