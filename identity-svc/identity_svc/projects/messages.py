"""The messages and records that are made of the rows of projects."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams.identity.v1 import project_service_pb2 as pb
from ams.identity.v1.events_pb2 import ProjectChanged, ProjectMember, ProjectRole
from ams_common.clock import to_timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An open invitation, found by who got it. `invited_by` is who sent it last."""

    invitation_id: UUID
    project_id: UUID
    project_name: str
    invited_by: UUID
    invited_by_name: str
    role: ProjectRole.ValueType
    service_ids: Sequence[UUID]
    expires_at: datetime

    def message(self) -> pb.ReceivedInvitation:
        return pb.ReceivedInvitation(
            invitation_id=str(self.invitation_id),
            project_name=self.project_name,
            invited_by_name=self.invited_by_name,
            role=self.role,
            expires_at=to_timestamp(self.expires_at),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How often an invitation was sent, and when last."""

    times_sent: int
    sent_at: datetime


def project_message(
    *,
    project_id: UUID,
    name: str,
    description: str,
    owner_id: UUID,
    owner_name: str,
    role: ProjectRole.ValueType,
    service_ids: Sequence[UUID],
    member_count: int,
    created_at: datetime,
    closed_at: datetime | None,
    offered_to_id: UUID | None,
) -> pb.Project:
    return pb.Project(
        project_id=str(project_id),
        name=name,
        description=description,
        owner_id=str(owner_id),
        owner_name=owner_name,
        role=role,
        service_ids=map(str, service_ids),
        member_count=member_count,
        created_at=to_timestamp(created_at),
        closed_at=to_timestamp(closed_at),
        offered_to_id=str(offered_to_id) if offered_to_id is not None else "",
    )


def membership_message(
    *,
    user_id: UUID,
    name: str,
    email: str,
    role: ProjectRole.ValueType,
    service_ids: Sequence[UUID],
    joined_at: datetime,
) -> pb.ProjectMembership:
    return pb.ProjectMembership(
        user_id=str(user_id),
        name=name,
        email=email,
        role=role,
        service_ids=map(str, service_ids),
        joined_at=to_timestamp(joined_at),
    )


def invite_message(
    *,
    invitation_id: UUID,
    email: str,
    role: ProjectRole.ValueType,
    service_ids: Sequence[UUID],
    created_at: datetime,
    expires_at: datetime,
    invited_by_name: str,
) -> pb.ProjectInvite:
    return pb.ProjectInvite(
        invitation_id=str(invitation_id),
        email=email,
        role=role,
        service_ids=map(str, service_ids),
        created_at=to_timestamp(created_at),
        expires_at=to_timestamp(expires_at),
        invited_by_name=invited_by_name,
    )


def changed_message(
    *,
    project_id: UUID,
    name: str,
    owner_id: UUID,
    is_closed: bool,
    version: int,
    user_ids: Sequence[UUID],
    roles: Sequence[ProjectRole.ValueType],
    service_ids: Sequence[str],
) -> ProjectChanged:
    """`user_ids`, `roles` and `service_ids` (ids with blanks between) are of the members, in one order."""
    members = [
        ProjectMember(user_id=str(user_id), role=role, service_ids=texts.split())
        for user_id, role, texts in zip(user_ids, roles, service_ids, strict=True)
    ]
    return ProjectChanged(
        project_id=str(project_id),
        name=name,
        owner_id=str(owner_id),
        members=members,
        is_closed=is_closed,
        version=version,
    )
