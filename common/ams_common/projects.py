"""A service's copy of projects and their members, which identity-svc owns (tables projects, project_members).

A service that keeps one hears of changes by Kafka (ProjectChanged on identity.events) and by asking
(ams_common.following), both through `save_projects`. What a member may do is ams_common.project_rights.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import grpc
from ams.identity.v1 import project_service_pb2 as pb
from ams.identity.v1 import project_service_pb2_grpc as rpc
from ams.identity.v1.events_pb2 import PROJECT_ROLE_UNSPECIFIED, IdentityEvent, ProjectChanged, ProjectRole
from typing_extensions import TypeVar

from ams_common.client import invoke
from ams_common.database import Database
from ams_common.errors import NotFoundError, PermissionDeniedError
from ams_common.following import Apply, Follower
from ams_common.project_rights import ProjectRight, may

# A bare follower is one of whatever store.
S = TypeVar("S", default=Any)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Member:
    """What somebody is in a project. `service_ids`: what they may use in it; empty: all that it may."""

    role: ProjectRole.ValueType
    service_ids: frozenset[UUID] = frozenset()

    def may_use(self, service_id: UUID) -> bool:
        """Whether the member may use the service, if the project may."""
        return not self.service_ids or service_id in self.service_ids


@dataclass(frozen=True, slots=True)
class Project:
    """A project since the change with this version. Its usage is billed to the owner."""

    project_id: UUID
    name: str
    owner_id: UUID
    members: Mapping[UUID, Member]
    is_closed: bool
    version: int

    @classmethod
    def of(cls, changed: ProjectChanged) -> "Project":
        """Raises ValueError for an id that is none, and for a role that this release doesn't know."""
        members = {UUID(each.user_id): _member(each.role, each.service_ids) for each in changed.members}
        return cls(
            UUID(changed.project_id),
            changed.name,
            UUID(changed.owner_id),
            members,
            changed.is_closed,
            changed.version,
        )


class ProjectUpdate(NamedTuple):
    """A project as it was known, None for one that wasn't, and as it is now."""

    before: Project | None
    after: Project

    @property
    def left(self) -> frozenset[UUID]:
        """Who is no longer in the project. Of an unknown one nobody had been."""
        return frozenset(self.before.members.keys() - self.after.members.keys() if self.before else ())


class Membership(NamedTuple):
    """What one person is in one project."""

    project_id: UUID
    owner_id: UUID
    is_closed: bool
    member: Member


def projects_of(events: Iterable[IdentityEvent]) -> Sequence[Project]:
    """The projects that Kafka's events tell of. Raises ValueError as Project.of does."""
    return [Project.of(event.project_changed) for event in events if event.HasField("project_changed")]


async def save_projects(
    connection: asyncpg.Connection, projects: Iterable[Project]
) -> Sequence[ProjectUpdate]:
    """Keeps the newest of what is known and told, and returns what it has changed.

    Their rows are locked until the commit, by id, so that two transactions never wait for each other's.
    """
    newest: dict[UUID, Project] = {}
    for project in projects:
        known = newest.get(project.project_id)
        if known is None or project.version > known.version:
            newest[project.project_id] = project
    updates = []
    for project_id in sorted(newest):
        await connection.execute(
            "INSERT INTO projects (project_id, name, owner_id) VALUES ($1, '', $2) ON CONFLICT DO NOTHING",
            project_id,
            newest[project_id].owner_id,
        )
        before = await _lock(connection, project_id)
        if newest[project_id].version > before.version:
            await _replace(connection, newest[project_id])
            updates.append(ProjectUpdate(before if before.version else None, newest[project_id]))
    return updates


async def find_membership(
    connection: asyncpg.Connection, project_id: UUID, user_id: UUID
) -> Membership | None:
    """None for who isn't in the project, and for a project that there is none of."""
    row = await connection.fetchrow(
        "SELECT owner_id, is_closed, role, service_ids FROM projects JOIN project_members USING (project_id)"
        " WHERE project_id = $1 AND user_id = $2",
        project_id,
        user_id,
    )
    if row is None:
        return None
    member = Member(row["role"], frozenset(row["service_ids"]))
    return Membership(project_id, row["owner_id"], row["is_closed"], member)


async def require_right(
    connection: asyncpg.Connection, project_id: UUID, user_id: UUID, right: ProjectRight
) -> Membership:
    """The person's membership in the project, whose role has that right.

    Raises NotFoundError project_not_found for a project that isn't theirs, PermissionDeniedError
    project_right_required for a role that hasn't.
    """
    membership = await find_membership(connection, project_id, user_id)
    if membership is None:
        raise project_not_found()
    if not may(membership.member.role, right):
        raise right_required()
    return membership


def project_not_found() -> NotFoundError:
    """The same for somebody else's project as for none."""
    return NotFoundError("project_not_found", "There is no such project.")


def right_required() -> PermissionDeniedError:
    """For a member: that there is such a project is no secret to them."""
    return PermissionDeniedError("project_right_required", "Your role in this project doesn't allow this.")


class ProjectFollower(Follower[S, ProjectChanged, Project]):
    """Follows all projects."""

    source = "identity-svc/ListProjectChanges"
    subject = "projects"

    def __init__(
        self,
        database: Database[S],
        channel: grpc.aio.Channel,
        service: str,
        secret: str,
        apply: Apply[S, Project],
    ) -> None:
        super().__init__(database, channel, service, secret, apply)
        self._stub = rpc.ProjectServiceStub(channel)

    async def ask(self, after_version: int, token: str) -> Sequence[ProjectChanged]:
        request = pb.ListProjectChangesRequest(after_version=after_version)
        answer = await invoke(self._stub.ListProjectChanges, request, token=token)
        return answer.changes

    def state_of(self, change: ProjectChanged) -> Project | None:
        try:
            return Project.of(change)
        except ValueError as error:
            # A newer identity-svc: Kafka's message of it is kept among the dead letters, to be replayed.
            log.error("unreadable project", extra={"project_id": change.project_id, "error": repr(error)})
            return None

    def version_of(self, change: ProjectChanged) -> int:
        return change.version


def _member(role: ProjectRole.ValueType, service_ids: Iterable[str]) -> Member:
    if role == PROJECT_ROLE_UNSPECIFIED or role not in ProjectRole.values():
        raise ValueError(f"unknown role of a project: {role}")
    return Member(role, frozenset(map(UUID, service_ids)))


async def _lock(connection: asyncpg.Connection, project_id: UUID) -> Project:
    row = await connection.fetchrow(
        "SELECT name, owner_id, is_closed, version FROM projects WHERE project_id = $1 FOR UPDATE", project_id
    )
    members = await connection.fetch(
        "SELECT user_id, role, service_ids FROM project_members WHERE project_id = $1", project_id
    )
    return Project(
        project_id,
        row["name"],
        row["owner_id"],
        {each["user_id"]: Member(each["role"], frozenset(each["service_ids"])) for each in members},
        row["is_closed"],
        row["version"],
    )


async def _replace(connection: asyncpg.Connection, project: Project) -> None:
    await connection.execute(
        "UPDATE projects SET name = $2, owner_id = $3, is_closed = $4, version = $5 WHERE project_id = $1",
        project.project_id,
        project.name,
        project.owner_id,
        project.is_closed,
        project.version,
    )
    await connection.execute("DELETE FROM project_members WHERE project_id = $1", project.project_id)
    await connection.executemany(
        "INSERT INTO project_members (project_id, user_id, role, service_ids) VALUES ($1, $2, $3, $4)",
        [
            (project.project_id, user_id, member.role, sorted(member.service_ids))
            for user_id, member in project.members.items()
        ],
    )
