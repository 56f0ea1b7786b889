"""The RPCs of ams.identity.v1.SessionService: where somebody is signed in, and its end."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from ams.identity.v1 import session_service_pb2 as pb
from ams.identity.v1 import session_service_pb2_grpc as rpc
from ams.identity.v1.token_ends_pb2 import TokenEnd
from ams_common.clock import Clock
from ams_common.context import current_caller, current_user_id
from ams_common.database import Database
from ams_common.errors import NotFoundError
from ams_common.interceptors import Context
from ams_common.paging import page_request

from identity_svc import token_ends
from identity_svc.messages import active_session_message
from identity_svc.session_store import SessionStore
from identity_svc.sign_in_store import SignInStore
from identity_svc.store import Store

_ENDS_PER_PAGE = 1000


@dataclass(kw_only=True, eq=False, repr=False)
class SessionService(rpc.SessionServiceServicer):
    database: Database[Store]
    clock: Clock

    async def ListSessions(
        self, request: pb.ListSessionsRequest, context: Context
    ) -> pb.ListSessionsResponse:
        user_id, current = current_user_id(), current_session_id()
        async with self.database.read() as store:
            page = await SessionStore(store.connection).list_sessions(
                page_request(request), user_id=user_id, now=self.clock()
            )
        sessions = [active_session_message(session, session.session_id == current) for session in page.rows]
        return pb.ListSessionsResponse(sessions=sessions, next_page_token=page.next_token)

    async def EndSession(self, request: pb.EndSessionRequest, context: Context) -> pb.EndSessionResponse:
        """The same answer for somebody else's session as for none."""
        async with self.database.change() as change:
            session_id = UUID(request.session_id)
            if not await token_ends.end_session(change, session_id, current_user_id(), self.clock()):
                raise NotFoundError("session_not_found", "There is no such session.")
            change.audit("session", session_id)
        return pb.EndSessionResponse()

    async def EndOtherSessions(
        self, request: pb.EndOtherSessionsRequest, context: Context
    ) -> pb.EndOtherSessionsResponse:
        user_id = current_user_id()
        async with self.database.change() as change:
            ended = await token_ends.end_sessions(change, user_id, self.clock(), current_session_id())
            change.audit("user", user_id, ended=str(len(ended)))
        return pb.EndOtherSessionsResponse(ended_count=len(ended))

    async def ListSignInTries(
        self, request: pb.ListSignInTriesRequest, context: Context
    ) -> pb.ListSignInTriesResponse:
        async with self.database.read() as store:
            page = await SignInStore(store.connection).list_tries(page_request(request))
        return pb.ListSignInTriesResponse(tries=page.rows, next_page_token=page.next_token)

    async def ListTokenEnds(
        self, request: pb.ListTokenEndsRequest, context: Context
    ) -> pb.ListTokenEndsResponse:
        ended = await list_token_ends(self.database, request.after_version, request.page_size)
        return pb.ListTokenEndsResponse(token_ends=ended)


def current_session_id() -> UUID | None:
    """The session of the access token that the call was made with; None for another credential."""
    kind, _, text = current_caller().credential.partition(":")
    return UUID(text) if kind == "session" else None


async def list_token_ends(
    database: Database[Store], after_version: int, limit: int = 0
) -> Sequence[TokenEnd]:
    """What has ended after a version, oldest first: at most `limit`, or as many as one answer may hold."""
    async with database.read() as store:
        return await SessionStore(store.connection).list_token_ends(
            after_version=after_version, limit=limit or _ENDS_PER_PAGE
        )
