"""Changing a project: who may, and what the other services and its people hear of it."""

from collections.abc import Iterable
from uuid import UUID

from ams.identity.v1 import project_service_pb2 as pb
from ams.identity.v1.events_pb2 import IdentityEvent
from ams.identity.v1.notifications_pb2 import Notification, ProjectInvitation, ProjectMembershipChanged
from ams_common import topics
from ams_common.clock import to_timestamp, utc_now
from ams_common.context import current_user_id
from ams_common.database import Change
from ams_common.etags import check_etag
from ams_common.ids import uuid7
from ams_common.project_rights import ProjectRight, may
from ams_common.projects import project_not_found, right_required

from identity_svc.projects.rules import project_closed
from identity_svc.projects.store import ProjectStore
from identity_svc.store import Store


async def see_project(store: ProjectStore, project_id: UUID, right: ProjectRight) -> pb.Project:
    """The project, in which the caller has that right.

    Raises NotFoundError project_not_found, PermissionDeniedError project_right_required.
    """
    project = await store.find_project(project_id=project_id, user_id=current_user_id())
    if project is None:
        raise project_not_found()
    if not may(project.role, right):
        raise right_required()
    return project


async def open_project(
    store: ProjectStore, project_id: UUID, right: ProjectRight, etag: str = ""
) -> pb.Project:
    """As see_project, for a change: locked until the commit. Raises also FailedPreconditionError
    project_closed, and AbortedError etag_mismatch where it has another etag than is given."""
    await store.lock_project(project_id=project_id)
    project = await see_project(store, project_id, right)
    if project.HasField("closed_at"):
        raise project_closed()
    check_etag(etag, project)
    return project


async def publish_project(change: Change[Store], project_id: UUID) -> pb.Project | None:
    """Publishes the whole present state of the project, which is new, and returns it as the caller sees it;
    None for who isn't in it any more. Last in its transaction (see draw_project_version)."""
    store = ProjectStore(change.connection)
    project = await store.find_project(project_id=project_id, user_id=current_user_id())
    event = IdentityEvent(
        event_id=str(uuid7()),
        occurred_at=to_timestamp(utc_now()),
        project_changed=await store.draw_project_version(project_id),
    )
    change.publish(topics.IDENTITY_EVENTS, str(project_id), event)
    return project


def tell(
    change: Change[Store], user_ids: Iterable[str], project: pb.Project, what: str, member_name: str
) -> None:
    """Tells people what happened to a membership, or to the project: see ProjectMembershipChanged.change."""
    message = ProjectMembershipChanged(
        project_id=project.project_id, project_name=project.name, change=what, member_name=member_name
    )
    for user_id in user_ids:
        notification = _notification(user_id)
        notification.project_membership_changed.CopyFrom(message)
        change.publish(topics.NOTIFICATIONS, user_id, notification)


def tell_invited(
    change: Change[Store], user_id: UUID, project: pb.Project, invitation_id: UUID, invited_by: str
) -> None:
    """Tells who has an account already that an invitation waits; its code is in a mail of its own."""
    notification = _notification(str(user_id))
    notification.project_invitation.CopyFrom(
        ProjectInvitation(
            project_id=project.project_id,
            project_name=project.name,
            invited_by=invited_by,
            invitation_id=str(invitation_id),
        )
    )
    change.publish(topics.NOTIFICATIONS, str(user_id), notification)


def _notification(user_id: str) -> Notification:
    return Notification(notification_id=str(uuid7()), user_id=user_id, occurred_at=to_timestamp(utc_now()))
