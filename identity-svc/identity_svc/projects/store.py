"""The SQL of projects."""

from uuid import UUID

from ams.identity.v1.events_pb2 import ProjectChanged
from ams_common.queries import QueryStore, many, maybe_value, one, page, run, value

from identity_svc.projects.messages import (
    Received,
    Sending,
    changed_message,
    invite_message,
    membership_message,
    project_message,
)


class ProjectStore(QueryStore, package="identity_svc.projects"):
    """Projects, their members and invitations."""

    lock_person = run()
    count_owned = value(int)
    count_joined = value(int)
    insert_project = run()
    insert_member = run()
    lock_project = maybe_value(UUID)
    find_project = one(project_message)
    list_projects = page(project_message)
    update_project = run()
    close_project = run()
    offer_project = run()
    set_owner = run()

    list_members = many(membership_message)
    find_member = one(membership_message)
    update_member = run()
    delete_member = run()

    count_sent = value(int)
    count_open_invitations = value(int)
    is_member = value(bool)
    insert_invitation = run()
    find_invite = one(invite_message)
    list_invites = many(invite_message)
    find_sending = one(Sending)
    send_again = run()
    end_invitation = run()
    revoke_invitations = run()
    list_received = many(Received)
    find_received = one(Received)

    _lock_project_versions = run()
    _draw_project_version = run()
    _find_changed = one(changed_message)
    list_project_changes = many(changed_message)

    async def draw_project_version(self, project_id: UUID) -> ProjectChanged:
        """Gives the project, as it is now, its next version. To be called last in a transaction: everybody
        else who changes a project waits for its end."""
        # A statement of its own: in one, the version might be drawn before the lock is had.
        await self._lock_project_versions()
        await self._draw_project_version(project_id=project_id)
        changed = await self._find_changed(project_id=project_id)
        assert changed is not None, "a project has its owner at least"
        return changed
