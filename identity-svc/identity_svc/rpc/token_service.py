"""The RPCs of ams.identity.v1.TokenService: personal access tokens, made, listed, revoked and traded."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ams.identity.v1 import token_service_pb2 as pb
from ams.identity.v1 import token_service_pb2_grpc as rpc
from ams.identity.v1.notifications_pb2 import PersonalTokenMade
from ams.policy.v1.policy_pb2 import Role
from ams_common import personal_tokens
from ams_common.clock import Clock, to_timestamp
from ams_common.context import current_caller, current_user_id
from ams_common.database import Database
from ams_common.errors import (
    FailedPreconditionError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.paging import page_request
from ams_common.tokens import ACCESS_TOKEN_TTL, sign_user_token

from identity_svc import roles
from identity_svc.addresses import trimmed
from identity_svc.keyring import Keyring
from identity_svc.notices import tell
from identity_svc.records import GoodToken
from identity_svc.sessions import SessionIssuer
from identity_svc.store import Store
from identity_svc.token_ends import end_credential
from identity_svc.token_store import TokenStore

# More than anybody has scripts; each has its line on the page.
MOST_TOKENS = 50
# How exactly it is known when a token was last used: each trade would be a write otherwise.
_USED_EXACTLY = timedelta(minutes=10)


@dataclass(kw_only=True, eq=False, repr=False)
class TokenService(rpc.TokenServiceServicer):
    database: Database[Store]
    keyring: Keyring
    session_issuer: SessionIssuer
    clock: Clock

    async def CreateToken(self, request: pb.CreateTokenRequest, context: Context) -> pb.CreateTokenResponse:
        """A role that the caller doesn't act in now can't be given to a token either."""
        user_id, now, name = current_user_id(), self.clock(), trimmed(request.name)
        if request.role not in current_caller().roles:
            raise PermissionDeniedError("role_required", "Your account doesn't have this role.")
        async with self.database.change() as change:
            if (done := await change.replay(request, pb.CreateTokenResponse)) is not None:
                return done
            tokens = TokenStore(change.connection)
            await tokens.lock_user(user_id=user_id)
            if await tokens.count_good_tokens(user_id=user_id, now=now) >= MOST_TOKENS:
                raise FailedPreconditionError(
                    "too_many_tokens", f"You have {MOST_TOKENS} tokens. Revoke one that you don't need."
                )
            made = personal_tokens.generate()
            token = await tokens.insert_token(
                token_id=uuid7(),
                user_id=user_id,
                name=name,
                token_prefix=made.prefix,
                token_hash=made.sha256,
                role=roles.role_text(request.role),
                is_read_only=request.scope == pb.TOKEN_READ,
                now=now,
                expires_at=now + timedelta(days=request.ttl_days),
                session_id=_session_id(current_caller().credential),
            )
            assert token is not None, "an INSERT without a conflict returns its row"
            change.audit("token", token.token_id, name=name, scope=pb.TokenScope.Name(request.scope))
            told = PersonalTokenMade(
                token_id=token.token_id,
                token_name=token.name,
                token_prefix=token.token_prefix,
                role=Role.Name(token.role).lower(),
                is_read_only=token.scope == pb.TOKEN_READ,
                expires_at=token.expires_at,
            )
            tell(change, user_id, now, personal_token_made=told)
            await change.remember(request, pb.CreateTokenResponse(token=token))
        return pb.CreateTokenResponse(token=token, secret=made.secret)

    async def ListTokens(self, request: pb.ListTokensRequest, context: Context) -> pb.ListTokensResponse:
        async with self.database.read() as store:
            page = await TokenStore(store.connection).list_tokens(
                page_request(request), user_id=current_user_id()
            )
        return pb.ListTokensResponse(tokens=page.rows, next_page_token=page.next_token)

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Context) -> pb.PersonalAccessToken:
        """The same answer for somebody else's token as for none; one that is revoked already stays so."""
        token_id, user_id, now = UUID(request.token_id), current_user_id(), self.clock()
        async with self.database.change() as change:
            tokens = TokenStore(change.connection)
            is_revoked_now = await tokens.revoke_token(token_id=token_id, user_id=user_id, now=now)
            token = await tokens.find_token(token_id=token_id, user_id=user_id)
            if token is None:
                raise NotFoundError("token_not_found", "There is no such token.")
            if is_revoked_now:
                change.audit("token", token_id, name=token.name)
                await end_credential(change, f"token:{token_id}", user_id, now)
            else:
                change.nothing_to_audit()
        return token

    async def TradeToken(self, request: pb.TradeTokenRequest, context: Context) -> pb.TradeTokenResponse:
        """One answer for a token that is revoked, has expired or never was."""
        now, given = self.clock(), personal_tokens.hash_token(request.secret)
        if given is None:
            raise _token_invalid()
        async with self.database.read() as store:
            token = await TokenStore(store.connection).find_good_token(token_hash=given, now=now)
            account = await store.find_account(user_id=token.user_id) if token is not None else None
        if token is None or account is None:
            raise _token_invalid()
        role, expires_at = roles.role_of(token.role), min(token.expires_at, now + ACCESS_TOKEN_TTL)
        if token.role not in account.roles:
            raise PermissionDeniedError("role_required", "Your account doesn't have this token's role now.")
        if role not in self.session_issuer.held(account, token.second_factor_at):
            raise PermissionDeniedError(
                "second_factor_needed",
                "This token was made without a second factor. Sign in with one, and make another token.",
            )
        await self._note_use(token, now)
        access_token = sign_user_token(
            self.keyring.current(),
            token.user_id,
            [role],
            role,
            now,
            credential=f"token:{token.token_id}",
            is_read_only=token.is_read_only,
            generation=account.token_generation,
            expires_at=expires_at,
        )
        return pb.TradeTokenResponse(access_token=access_token, expires_at=to_timestamp(expires_at))

    async def _note_use(self, token: GoodToken, now: datetime) -> None:
        if token.last_used_at is not None and now - token.last_used_at < _USED_EXACTLY:
            return
        async with self.database.change() as change:
            await TokenStore(change.connection).use_token(token_id=token.token_id, now=now)
            change.nothing_to_audit()  # what is done with it is


def _session_id(credential: str) -> UUID | None:
    """The session that a person acts in; None: they act by a token."""
    kind, _, session_id = credential.partition(":")
    return UUID(session_id) if kind == "session" else None


def _token_invalid() -> UnauthenticatedError:
    return UnauthenticatedError("token_invalid", "This personal access token is not valid.")
