"""The RPCs about the members of a project, and about handing it over to one of them."""

from dataclasses import dataclass
from uuid import UUID

from ams.identity.v1 import project_service_pb2 as pb
from ams.identity.v1.events_pb2 import ProjectRole
from ams_common.clock import Clock
from ams_common.context import current_user_id
from ams_common.database import Change, Database
from ams_common.errors import FailedPreconditionError, NotFoundError
from ams_common.etags import check_etag
from ams_common.interceptors import Context
from ams_common.project_rights import MANAGER, OWNER, ProjectRight, may

from identity_svc.projects import rules
from identity_svc.projects.changing import open_project, publish_project, see_project, tell
from identity_svc.projects.store import ProjectStore
from identity_svc.rpc.projects import check_may_own
from identity_svc.store import Store


@dataclass(kw_only=True, eq=False, repr=False)
class ProjectMemberRpcs:
    database: Database[Store]
    clock: Clock

    async def ListProjectMembers(
        self, request: pb.ListProjectMembersRequest, context: Context
    ) -> pb.ListProjectMembersResponse:
        project_id = UUID(request.project_id)
        async with self.database.read() as reading:
            store = ProjectStore(reading.connection)
            await see_project(store, project_id, ProjectRight.SEE_PROJECT)
            return pb.ListProjectMembersResponse(members=await store.list_members(project_id=project_id))

    async def UpdateProjectMember(
        self, request: pb.UpdateProjectMemberRequest, context: Context
    ) -> pb.ProjectMembership:
        rules.check_role(request.role)
        project_id, user_id = UUID(request.project_id), UUID(request.user_id)
        async with self.database.change() as change:
            store = ProjectStore(change.connection)
            project = await open_project(store, project_id, ProjectRight.CHANGE_MEMBERS)
            before = await _find_member(store, project_id, user_id)
            rules.check_not_owner(before.role)
            check_etag(request.etag, before)
            await store.update_member(
                project_id=project_id,
                user_id=user_id,
                role=request.role,
                service_ids=rules.unique(request.service_ids),
            )
            if not may(request.role, ProjectRight.INVITE_MEMBERS):
                await store.revoke_invitations(project_id=project_id, invited_by=user_id, now=self.clock())
            after = await _find_member(store, project_id, user_id)
            if before.role != after.role and user_id != current_user_id():
                tell(change, [request.user_id], project, "role_changed", after.name)
            change.audit(
                "project", project_id, member=request.user_id, role=ProjectRole.Name(after.role).lower()
            )
            await publish_project(change, project_id)
        return after

    async def RemoveProjectMember(
        self, request: pb.RemoveProjectMemberRequest, context: Context
    ) -> pb.Project:
        project_id, user_id = UUID(request.project_id), UUID(request.user_id)
        async with self.database.change() as change:
            store = ProjectStore(change.connection)
            project = await open_project(store, project_id, ProjectRight.CHANGE_MEMBERS, request.etag)
            member = await _find_member(store, project_id, user_id)
            if user_id == current_user_id():
                raise FailedPreconditionError("project_member_is_you", "Leave the project instead.")
            rules.check_not_owner(member.role)
            await self._take_out(change, project, user_id)
            tell(change, [request.user_id], project, "removed", member.name)
            change.audit("project", project_id, member=request.user_id)
            left = await publish_project(change, project_id)
        assert left is not None, "whoever removes another is in it"
        return left

    async def LeaveProject(
        self, request: pb.LeaveProjectRequest, context: Context
    ) -> pb.LeaveProjectResponse:
        """Also a closed one, which is then no longer listed."""
        project_id, user_id = UUID(request.project_id), current_user_id()
        async with self.database.change() as change:
            store = ProjectStore(change.connection)
            await store.lock_project(project_id=project_id)
            project = await see_project(store, project_id, ProjectRight.SEE_PROJECT)
            rules.check_not_owner(project.role)
            member = await _find_member(store, project_id, user_id)
            await self._take_out(change, project, user_id)
            tell(change, [project.owner_id], project, "left", member.name)
            change.audit("project", project_id, member=str(user_id))
            await publish_project(change, project_id)
        return pb.LeaveProjectResponse()

    async def OfferProject(self, request: pb.OfferProjectRequest, context: Context) -> pb.Project:
        project_id, user_id = UUID(request.project_id), UUID(request.user_id)
        async with self.database.change() as change:
            store = ProjectStore(change.connection)
            project = await open_project(store, project_id, ProjectRight.HAND_OVER, request.etag)
            member = await _find_member(store, project_id, user_id)
            rules.check_not_owner(member.role)
            await store.offer_project(project_id=project_id, offered_to_id=user_id)
            tell(change, [request.user_id], project, "offered", project.owner_name)
            change.audit("project", project_id, member=request.user_id)
            return await see_project(store, project_id, ProjectRight.SEE_PROJECT)

    async def WithdrawProjectOffer(
        self, request: pb.WithdrawProjectOfferRequest, context: Context
    ) -> pb.Project:
        return await self._end_offer(request, ProjectRight.HAND_OVER, is_receiver=False)

    async def DeclineProjectOffer(
        self, request: pb.DeclineProjectOfferRequest, context: Context
    ) -> pb.Project:
        return await self._end_offer(request, ProjectRight.SEE_PROJECT, is_receiver=True)

    async def AcceptProjectOffer(self, request: pb.AcceptProjectOfferRequest, context: Context) -> pb.Project:
        project_id, user_id = UUID(request.project_id), current_user_id()
        async with self.database.change() as change:
            store = ProjectStore(change.connection)
            project = await open_project(store, project_id, ProjectRight.SEE_PROJECT, request.etag)
            _check_offered(project, is_receiver=True)
            # The token may be of before a block: who pays must not be stopped.
            if await change.store.lock_role(user_id=user_id, role="consumer") != "active":
                raise FailedPreconditionError("consumer_blocked", "A blocked consumer can't own a project.")
            await check_may_own(store, user_id)
            # In this order: never two owners, not even for a moment.
            before = UUID(project.owner_id)
            await store.update_member(project_id=project_id, user_id=before, role=MANAGER, service_ids=[])
            await store.update_member(project_id=project_id, user_id=user_id, role=OWNER, service_ids=[])
            await store.set_owner(project_id=project_id, owner_id=user_id)
            change.audit("project", project_id, owner_before=project.owner_id, owner=str(user_id))
            after = await publish_project(change, project_id)
            assert after is not None, "the owner is in it"
            tell(change, [project.owner_id], project, "handed_over", after.owner_name)
        return after

    async def _end_offer(
        self,
        request: pb.WithdrawProjectOfferRequest | pb.DeclineProjectOfferRequest,
        right: ProjectRight,
        *,
        is_receiver: bool,
    ) -> pb.Project:
        project_id = UUID(request.project_id)
        async with self.database.change() as change:
            store = ProjectStore(change.connection)
            project = await open_project(store, project_id, right, request.etag)
            _check_offered(project, is_receiver=is_receiver)
            await store.offer_project(project_id=project_id, offered_to_id=None)
            change.audit("project", project_id, member=project.offered_to_id)
            return await see_project(store, project_id, ProjectRight.SEE_PROJECT)

    async def _take_out(self, change: Change[Store], project: pb.Project, user_id: UUID) -> None:
        """With the member go the invitations that they have sent."""
        store, project_id = ProjectStore(change.connection), UUID(project.project_id)
        await store.delete_member(project_id=project_id, user_id=user_id)
        await store.revoke_invitations(project_id=project_id, invited_by=user_id, now=self.clock())


async def _find_member(store: ProjectStore, project_id: UUID, user_id: UUID) -> pb.ProjectMembership:
    member = await store.find_member(project_id=project_id, user_id=user_id)
    if member is None:
        raise rules.member_not_found()
    return member


def _check_offered(project: pb.Project, *, is_receiver: bool) -> None:
    """Raises NotFoundError when there is no offer, or for a receiver when it isn't for the caller."""
    if not project.offered_to_id or (is_receiver and project.offered_to_id != str(current_user_id())):
        raise NotFoundError("project_offer_not_found", "There is no such offer.")
