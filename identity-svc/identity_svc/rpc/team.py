"""The RPCs about the team of admins (FR4-ADMIN-03)."""

from dataclasses import dataclass
from uuid import UUID

from ams.identity.v1 import team_service_pb2 as pb
from ams.identity.v1 import team_service_pb2_grpc as rpc
from ams_common.clock import Clock
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.errors import FailedPreconditionError, NotFoundError, PermissionDeniedError
from ams_common.field_changes import field_change
from ams_common.interceptors import Context
from ams_common.paging import page_request

from identity_svc import invites
from identity_svc.store import Store
from identity_svc.team import TeamStore
from identity_svc.token_ends import end_everything, renew_tokens


@dataclass(kw_only=True, eq=False, repr=False)
class TeamService(rpc.TeamServiceServicer):
    database: Database[Store]
    clock: Clock

    async def ListAdmins(self, request: pb.ListAdminsRequest, context: Context) -> pb.ListAdminsResponse:
        async with self.database.read() as opened:
            page = await TeamStore(opened.connection).list_admins(page_request(request))
        return pb.ListAdminsResponse(admins=page.rows, next_page_token=page.next_token)

    async def AcceptAdminInvite(self, request: pb.AcceptAdminInviteRequest, context: Context) -> pb.Admin:
        """Two proofs: the code came to the address, and so did what the caller has signed in with."""
        user_id, now = current_user_id(), self.clock()
        async with self.database.change() as change:
            email = await change.store.find_address(user_id=user_id)
            invite_id = email and await change.store.find_open_invite(
                code_hash=invites.code_hash(request.invite_code), email=email, role="admin", now=now
            )
            if not invite_id or not await change.store.accept_invite(
                invite_id=invite_id, user_id=user_id, now=now
            ):
                raise invites.not_valid()
            team = TeamStore(change.connection)
            await change.store.grant_role(user_id=user_id, role="admin", now=now)
            await team.forget_dismissal(user_id=user_id)
            change.audit("user", user_id, [field_change("role", "", "admin")], invite_id=str(invite_id))
            admin = await team.find_admin(user_id=user_id)
            await renew_tokens(change, user_id, now)
        assert admin is not None, "the role was granted in this transaction"
        return admin

    async def DismissAdmin(self, request: pb.DismissAdminRequest, context: Context) -> pb.Admin:
        user_id, caller_id, now = UUID(request.user_id), current_user_id(), self.clock()
        async with self.database.change() as change:
            team = TeamStore(change.connection)
            admins = await team.lock_admins()
            admin = await team.find_admin(user_id=user_id)
            if admin is None:
                raise NotFoundError("admin_not_found", "There is no such admin.")
            if admins == [user_id]:
                raise FailedPreconditionError("last_admin", "The last admin can't be dismissed.")
            # Of two who dismiss each other at once the second is none any more, whatever its token says.
            if caller_id not in admins:
                raise PermissionDeniedError(
                    "role_required", "Your account doesn't have the role that this needs."
                )
            await team.take_admin_role(user_id=user_id)
            await team.remember_dismissal(user_id=user_id, now=now)
            change.audit("user", user_id, [field_change("role", "admin", "")], reason=request.reason)
            # What ends tokens comes last: whoever ends others meanwhile waits for our commit.
            await end_everything(change, user_id, now)
        return admin
