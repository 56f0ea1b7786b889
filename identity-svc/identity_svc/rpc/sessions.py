"""The RPCs about sessions, and about who is signed in."""

from dataclasses import dataclass

from ams.identity.v1 import identity_service_pb2 as pb
from ams_common.clock import Clock
from ams_common.context import current_caller, current_user_id
from ams_common.database import Database
from ams_common.errors import NotFoundError
from ams_common.interceptors import Context

from identity_svc import roles, token_ends
from identity_svc.messages import user_message
from identity_svc.sessions import SessionIssuer, refresh_token_invalid
from identity_svc.store import Store
from identity_svc.vault import token_hash


@dataclass(kw_only=True, eq=False, repr=False)
class SessionRpcs:
    database: Database[Store]
    session_issuer: SessionIssuer
    clock: Clock

    async def RefreshSession(self, request: pb.RefreshSessionRequest, context: Context) -> pb.Session:
        """A token that was used before is in two hands: its session ends (RFC 9700, 4.14.2)."""
        now, given = self.clock(), token_hash(request.refresh_token)
        answer: pb.Session | None = None
        async with self.database.change() as change:
            session = await change.store.lock_session(token_hash=given)
            if session is None or session.ended_at is not None or session.expires_at <= now:
                raise refresh_token_invalid()
            change.actor, change.credential = str(session.user_id), f"session:{session.session_id}"
            if session.used_at is None:
                answer = await self.session_issuer.refresh(
                    change.store, session, given, request.active_role, now
                )
                change.audit("session", session.session_id)
            else:
                change.audit("session", session.session_id, outcome="reuse_detected")
                await token_ends.end_session(change, session.session_id, session.user_id, now)
        # Only now: raised inside, it would let the session live on.
        if answer is None:
            raise refresh_token_invalid()
        return answer

    async def SignOut(self, request: pb.SignOutRequest, context: Context) -> pb.SignOutResponse:
        """The same answer whether there was a session to end."""
        async with self.database.change() as change:
            session = await change.store.lock_session(token_hash=token_hash(request.refresh_token))
            if session is None or session.ended_at is not None:
                change.nothing_to_audit()
            else:
                change.actor, change.credential = str(session.user_id), f"session:{session.session_id}"
                change.audit("session", session.session_id)
                await token_ends.end_session(change, session.session_id, session.user_id, self.clock())
        return pb.SignOutResponse()

    async def GetMe(self, request: pb.GetMeRequest, context: Context) -> pb.User:
        async with self.database.read() as store:
            account = await store.find_account(user_id=current_user_id())
        if account is None:
            raise NotFoundError("user_not_found", "There is no such user.")
        held = roles.ordered_roles(account.roles)
        return user_message(account, roles.active_role(held, current_caller().active_role))
