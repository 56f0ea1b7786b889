"""The RPCs about projects as a whole."""

from dataclasses import dataclass
from uuid import UUID

from ams.identity.v1 import project_service_pb2 as pb
from ams_common.clock import Clock
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.paging import page_request
from ams_common.project_rights import OWNER, ProjectRight

from identity_svc.addresses import trimmed
from identity_svc.projects import rules
from identity_svc.projects.changing import open_project, publish_project, see_project, tell
from identity_svc.projects.store import ProjectStore
from identity_svc.store import Store

# As many as fit into one message, with as many members and services as there may be.
_CHANGES_PER_PAGE = 30


@dataclass(kw_only=True, eq=False, repr=False)
class ProjectRpcs:
    database: Database[Store]
    clock: Clock

    async def CreateProject(self, request: pb.CreateProjectRequest, context: Context) -> pb.Project:
        project_id, now = uuid7(), self.clock()
        async with self.database.change() as change:
            if (done := await change.replay(request, pb.Project)) is not None:
                return done
            store, user_id = ProjectStore(change.connection), current_user_id()
            await check_may_own(store, user_id)
            await store.insert_project(
                project_id=project_id,
                name=trimmed(request.name),
                description=request.description.strip(),
                owner_id=user_id,
                now=now,
            )
            await store.insert_member(
                project_id=project_id, user_id=user_id, role=OWNER, service_ids=[], now=now
            )
            change.audit("project", project_id, name=request.name)
            project = await publish_project(change, project_id)
            assert project is not None, "the owner is in it"
            await change.remember(request, project)
        return project

    async def ListProjects(
        self, request: pb.ListProjectsRequest, context: Context
    ) -> pb.ListProjectsResponse:
        async with self.database.read() as reading:
            page = await ProjectStore(reading.connection).list_projects(
                page_request(request), user_id=current_user_id(), with_closed=request.with_closed
            )
        return pb.ListProjectsResponse(projects=page.rows, next_page_token=page.next_token)

    async def GetProject(self, request: pb.GetProjectRequest, context: Context) -> pb.Project:
        async with self.database.read() as reading:
            store = ProjectStore(reading.connection)
            return await see_project(store, UUID(request.project_id), ProjectRight.SEE_PROJECT)

    async def UpdateProject(self, request: pb.UpdateProjectRequest, context: Context) -> pb.Project:
        project_id = UUID(request.project_id)
        async with self.database.change() as change:
            store = ProjectStore(change.connection)
            await open_project(store, project_id, ProjectRight.CHANGE_PROJECT, request.etag)
            await store.update_project(
                project_id=project_id,
                name=trimmed(request.name),
                description=request.description.strip(),
            )
            change.audit("project", project_id, name=request.name)
            project = await publish_project(change, project_id)
        assert project is not None, "whoever may change it is in it"
        return project

    async def CloseProject(self, request: pb.CloseProjectRequest, context: Context) -> pb.Project:
        project_id = UUID(request.project_id)
        async with self.database.change() as change:
            store = ProjectStore(change.connection)
            project = await open_project(store, project_id, ProjectRight.CLOSE_PROJECT, request.etag)
            await store.close_project(project_id=project_id, now=self.clock())
            await store.revoke_invitations(project_id=project_id, invited_by=None, now=self.clock())
            others = [
                member.user_id
                for member in await store.list_members(project_id=project_id)
                if member.user_id != project.owner_id
            ]
            tell(change, others, project, "closed", project.owner_name)
            change.audit("project", project_id, name=project.name)
            closed = await publish_project(change, project_id)
        assert closed is not None, "the owner is in it"
        return closed

    async def ListProjectChanges(
        self, request: pb.ListProjectChangesRequest, context: Context
    ) -> pb.ListProjectChangesResponse:
        async with self.database.read() as reading:
            changes = await ProjectStore(reading.connection).list_project_changes(
                after_version=request.after_version, limit=request.page_size or _CHANGES_PER_PAGE
            )
        return pb.ListProjectChangesResponse(changes=changes)


async def check_may_own(store: ProjectStore, user_id: UUID) -> None:
    """Raises ResourceExhaustedError for who owns, or is in, as many projects as may be."""
    await store.lock_person(user_id=user_id)
    rules.check_bound(
        await store.count_owned(user_id=user_id),
        rules.MAX_OWNED,
        "too_many_projects",
        f"One can own at most {rules.MAX_OWNED} open projects.",
    )


async def check_may_join(store: ProjectStore, user_id: UUID) -> None:
    """Raises ResourceExhaustedError for who is in as many projects as may be."""
    await store.lock_person(user_id=user_id)
    rules.check_bound(
        await store.count_joined(user_id=user_id),
        rules.MAX_JOINED,
        "too_many_projects",
        f"One can be in at most {rules.MAX_JOINED} open projects.",
    )
