"""Access tokens for a session's calls, renewed before they run out, one renewal at a time.

identity-svc ends a session whose refresh token is used twice, so two requests of one browser must never
renew at the same time, whichever processes serve them.
"""

import time

from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from ams.policy.v1.policy_pb2 import Role
from ams_common.client import invoke
from ams_common.errors import DeadlineExceededError, UnauthenticatedError, UnavailableError

from ams_bff.http.sessions import Session, SessionStore, Tokens

_RENEW_BEFORE_S = 60.0


class Renewal:
    """Trades refresh tokens for access tokens."""

    def __init__(self, store: SessionStore, identity: IdentityServiceStub) -> None:
        self._store = store
        self._identity = identity

    async def access_token(self, session: Session, refused: str | None = None) -> str | None:
        """A token for the session's person, None for nobody; another one than that which was `refused`.

        Raises UnauthenticatedError when the session has ended, UnavailableError when the old token is used up
        and no new one can be had.
        """
        if session.tokens is None:
            return None
        if not _is_good(session.tokens, refused):
            try:
                await self._renew(session, Role.ROLE_UNSPECIFIED, refused)
            except (UnavailableError, DeadlineExceededError):
                if refused is not None or session.tokens.expires_at_s <= time.time():
                    raise
        return session.tokens.access_token

    async def act_as(self, session: Session, role: Role.ValueType) -> None:
        """Makes `role` the active one. Raises PermissionDeniedError when the person doesn't hold it."""
        await self._renew(session, role)

    async def _renew(self, session: Session, role: Role.ValueType, refused: str | None = None) -> None:
        async with self._store.lock(session):
            latest = await self._store.load(session.secret)
            if latest is None or latest.person is None or latest.tokens is None:
                raise UnauthenticatedError("session_ended", "Your session has ended. Sign in again.")
            session.person, session.tokens = latest.person, latest.tokens
            if role == Role.ROLE_UNSPECIFIED and _is_good(latest.tokens, refused):
                return  # somebody else was quicker
            request = pb.RefreshSessionRequest(refresh_token=latest.tokens.refresh_token, active_role=role)
            session.adopt(await invoke(self._identity.RefreshSession, request))
            await self._store.update(session)


def _is_good(tokens: Tokens, refused: str | None) -> bool:
    return tokens.access_token != refused and tokens.expires_at_s - time.time() > _RENEW_BEFORE_S
