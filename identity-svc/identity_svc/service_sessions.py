"""RPCs on sessions and tokens."""

from ams.identity.v1 import identity_service_pb2 as pb
from ams_common.clock import to_timestamp
from ams_common.context import current_caller, current_user_id
from ams_common.errors import NotFoundError, PermissionDeniedError, UnauthenticatedError
from ams_common.tokens import ACCESS_TOKEN_TTL, sign_service_token

from identity_svc import roles
from identity_svc.handlers import Context, Handlers
from identity_svc.issuance import refresh_token_invalid, user_message
from identity_svc.vault import token_hash


class SessionHandlers(Handlers):
    async def RefreshSession(self, request: pb.RefreshSessionRequest, context: Context) -> pb.Session:
        """A token that was used before is in two hands: its session ends (RFC 9700, 4.14.2)."""
        now, given = self._clock(), token_hash(request.refresh_token)
        async with self._database.change() as change:
            session = await self._store.lock_session(change.connection, given)
            if session is None or session["ended_at"] is not None or session["expires_at"] <= now:
                raise refresh_token_invalid()
            change.actor = str(session["user_id"])
            if session["used_at"] is not None:
                await self._store.end_session(change.connection, session["session_id"], now)
                change.audit("session", session["session_id"], outcome="reuse_detected")
                answer = None
            else:
                answer = await self._issuer.carry_on(
                    change.connection, session, given, request.active_role, now
                )
                if answer is None:
                    raise PermissionDeniedError("role_required", "Your account doesn't have this role.")
                change.audit("session", session["session_id"])
        # Only now: raised inside, it would let the session live on.
        if answer is None:
            raise refresh_token_invalid()
        return answer

    async def SignOut(self, request: pb.SignOutRequest, context: Context) -> pb.SignOutResponse:
        """The same answer whether there was a session to end."""
        async with self._database.read() as connection:
            session = await self._store.find_session(connection, token_hash(request.refresh_token))
        if session is not None:
            async with self._database.change() as change:
                await self._store.end_session(change.connection, session["session_id"], self._clock())
                change.actor = str(session["user_id"])
                change.audit("session", session["session_id"])
        return pb.SignOutResponse()

    async def GetMe(self, request: pb.GetMeRequest, context: Context) -> pb.User:
        async with self._database.read() as connection:
            account = await self._store.find_account(connection, current_user_id())
        if account is None:
            raise NotFoundError("user_not_found", "There is no such user.")
        held = roles.ordered_roles(account["roles"])
        return user_message(account, roles.active_role(held, current_caller().active_role))

    async def GetJwks(self, request: pb.GetJwksRequest, context: Context) -> pb.GetJwksResponse:
        return pb.GetJwksResponse(jwks_json=self._keyring.jwks())

    async def IssueServiceToken(
        self, request: pb.IssueServiceTokenRequest, context: Context
    ) -> pb.IssueServiceTokenResponse:
        if not self._service_secrets.prove(request.service, request.secret):
            raise UnauthenticatedError("service_secret_invalid", "This is not that service's secret.")
        now = self._clock()
        return pb.IssueServiceTokenResponse(
            access_token=sign_service_token(self._keyring.current(), request.service, now),
            expires_at=to_timestamp(now + ACCESS_TOKEN_TTL),
        )
