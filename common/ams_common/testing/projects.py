"""Projects for tests, as a service that copies them is told."""

from collections.abc import Mapping
from uuid import UUID

from ams.identity.v1.events_pb2 import PROJECT_OWNER, ProjectRole

from ams_common.ids import uuid7
from ams_common.projects import Member, Project


def a_project(
    owner_id: UUID,
    roles: Mapping[UUID, ProjectRole.ValueType] | None = None,
    *,
    project_id: UUID | None = None,
    version: int = 1,
    is_closed: bool = False,
) -> Project:
    """The project of an owner, and of others with their roles."""
    members = {user_id: Member(role) for user_id, role in {owner_id: PROJECT_OWNER, **(roles or {})}.items()}
    return Project(project_id or uuid7(), "Maps", owner_id, members, is_closed, version)
