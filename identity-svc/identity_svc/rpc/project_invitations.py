"""The RPCs by which people are invited into projects, and answer."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams.identity.v1 import project_service_pb2 as pb
from ams.identity.v1.events_pb2 import ProjectRole
from ams_common.clock import Clock
from ams_common.context import current_user_id
from ams_common.database import Change, Database
from ams_common.errors import AlreadyExistsError, FailedPreconditionError
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.project_rights import ProjectRight

from identity_svc import invites
from identity_svc.addresses import normalise_email
from identity_svc.mails import MailQueue
from identity_svc.projects import rules
from identity_svc.projects.changing import open_project, publish_project, see_project, tell, tell_invited
from identity_svc.projects.messages import Received
from identity_svc.projects.store import ProjectStore
from identity_svc.rpc.projects import check_may_join
from identity_svc.store import Store


@dataclass(kw_only=True, eq=False, repr=False)
class ProjectInvitationRpcs:
    database: Database[Store]
    mail_queue: MailQueue
    clock: Clock

    async def CreateProjectInvitation(
        self, request: pb.CreateProjectInvitationRequest, context: Context
    ) -> pb.ProjectInvite:
        """The code goes to the invited address only; not even who invites sees it."""
        rules.check_role(request.role)
        project_id, invitation_id = UUID(request.project_id), uuid7()
        email, now, code = normalise_email(request.email), self.clock(), invites.new_code()
        async with self.database.change() as change:
            if (done := await change.replay(request, pb.ProjectInvite)) is not None:
                return done
            store = ProjectStore(change.connection)
            project = await open_project(store, project_id, ProjectRight.INVITE_MEMBERS)
            if await store.is_member(project_id=project_id, email=email):
                raise AlreadyExistsError("already_a_project_member", "This address is a member's already.")
            people = project.member_count + await store.count_open_invitations(project_id=project_id)
            rules.check_bound(
                people,
                rules.MAX_MEMBERS,
                "too_many_project_members",
                f"A project has at most {rules.MAX_MEMBERS} members and open invitations.",
            )
            await _check_sender(store, now)
            inserted = await store.insert_invitation(
                invitation_id=invitation_id,
                project_id=project_id,
                email=email,
                role=request.role,
                service_ids=rules.unique(request.service_ids),
                code_hash=invites.code_hash(code),
                invited_by=current_user_id(),
                now=now,
                expires_at=now + rules.INVITATION_TTL,
            )
            if not inserted:
                raise AlreadyExistsError(
                    "already_invited", "This address has an open invitation. Send it again instead."
                )
            invite = await self._send(change, project, invitation_id, code, now)
            role = ProjectRole.Name(request.role).lower()
            change.audit("project", project_id, invitation=str(invitation_id), email=email, role=role)
            await change.remember(request, invite)
        return invite

    async def ListProjectInvitations(
        self, request: pb.ListProjectInvitationsRequest, context: Context
    ) -> pb.ListProjectInvitationsResponse:
        project_id = UUID(request.project_id)
        async with self.database.read() as reading:
            store = ProjectStore(reading.connection)
            await see_project(store, project_id, ProjectRight.INVITE_MEMBERS)
            found = await store.list_invites(project_id=project_id)
        return pb.ListProjectInvitationsResponse(invitations=found)

    async def RevokeProjectInvitation(
        self, request: pb.RevokeProjectInvitationRequest, context: Context
    ) -> pb.ProjectInvite:
        project_id, invitation_id = UUID(request.project_id), UUID(request.invitation_id)
        async with self.database.change() as change:
            store = ProjectStore(change.connection)
            await open_project(store, project_id, ProjectRight.INVITE_MEMBERS)
            invite = await store.find_invite(project_id=project_id, invitation_id=invitation_id)
            if invite is None:
                raise rules.invitation_not_found()
            await store.end_invitation(invitation_id=invitation_id, now=self.clock(), outcome="revoked")
            change.audit("project", project_id, invitation=request.invitation_id, email=invite.email)
        return invite

    async def ResendProjectInvitation(
        self, request: pb.ResendProjectInvitationRequest, context: Context
    ) -> pb.ProjectInvite:
        project_id, invitation_id = UUID(request.project_id), UUID(request.invitation_id)
        now, code = self.clock(), invites.new_code()
        async with self.database.change() as change:
            store = ProjectStore(change.connection)
            project = await open_project(store, project_id, ProjectRight.INVITE_MEMBERS)
            sending = await store.find_sending(project_id=project_id, invitation_id=invitation_id)
            if sending is None:
                raise rules.invitation_not_found()
            rules.check_sending(sending.times_sent, sending.sent_at, now)
            await _check_sender(store, now)
            await store.send_again(
                invitation_id=invitation_id,
                code_hash=invites.code_hash(code),
                invited_by=current_user_id(),
                now=now,
                expires_at=now + rules.INVITATION_TTL,
            )
            invite = await self._send(change, project, invitation_id, code, now)
            change.audit("project", project_id, invitation=request.invitation_id, email=invite.email)
        return invite

    async def ListReceivedInvitations(
        self, request: pb.ListReceivedInvitationsRequest, context: Context
    ) -> pb.ListReceivedInvitationsResponse:
        async with self.database.read() as reading:
            store = ProjectStore(reading.connection)
            found = await store.list_received(user_id=current_user_id(), now=self.clock())
        return pb.ListReceivedInvitationsResponse(invitations=[each.message() for each in found])

    async def GetReceivedInvitation(
        self, request: pb.GetReceivedInvitationRequest, context: Context
    ) -> pb.ReceivedInvitation:
        async with self.database.read() as reading:
            store = ProjectStore(reading.connection)
            return (await self._received(store, request.invitation_id, request.code)).message()

    async def AcceptProjectInvitation(
        self, request: pb.AcceptProjectInvitationRequest, context: Context
    ) -> pb.Project:
        user_id, now = current_user_id(), self.clock()
        async with self.database.change() as change:
            store = ProjectStore(change.connection)
            # Its project first, as everybody locks it; what was found before may be over by then.
            await store.lock_project(
                project_id=(await self._received(store, request.invitation_id)).project_id
            )
            received = await self._received(store, request.invitation_id)
            await check_may_join(store, user_id)
            await store.insert_member(
                project_id=received.project_id,
                user_id=user_id,
                role=received.role,
                service_ids=received.service_ids,
                now=now,
            )
            await store.end_invitation(invitation_id=received.invitation_id, now=now, outcome="accepted")
            member = await store.find_member(project_id=received.project_id, user_id=user_id)
            assert member is not None, "just made one"
            project = await publish_project(change, received.project_id)
            assert project is not None, "just made a member"
            if project.member_count > rules.MAX_MEMBERS:
                raise FailedPreconditionError("too_many_project_members", "This project is full.")
            tell(change, {str(received.invited_by), project.owner_id}, project, "joined", member.name)
            change.audit("project", received.project_id, invitation=request.invitation_id)
        return project

    async def DeclineProjectInvitation(
        self, request: pb.DeclineProjectInvitationRequest, context: Context
    ) -> pb.DeclineProjectInvitationResponse:
        async with self.database.change() as change:
            store = ProjectStore(change.connection)
            received = await self._received(store, request.invitation_id)
            ended = await store.end_invitation(
                invitation_id=received.invitation_id, now=self.clock(), outcome="declined"
            )
            if not ended:
                raise rules.invitation_not_found()
            change.audit("project", received.project_id, invitation=request.invitation_id)
        return pb.DeclineProjectInvitationResponse()

    async def _received(self, store: ProjectStore, invitation_id: str, code: str = "") -> Received:
        """Raises NotFoundError unless it is open and for the caller's address."""
        received = await store.find_received(
            user_id=current_user_id(),
            now=self.clock(),
            invitation_id=UUID(invitation_id) if invitation_id else None,
            code_hash=invites.code_hash(code) if code else None,
        )
        if received is None:
            raise rules.invitation_not_found()
        return received

    async def _send(
        self, change: Change[Store], project: pb.Project, invitation_id: UUID, code: str, now: datetime
    ) -> pb.ProjectInvite:
        """Mails the code, and tells it in the account if there is one."""
        store = ProjectStore(change.connection)
        project_id = UUID(project.project_id)
        invite = await store.find_invite(project_id=project_id, invitation_id=invitation_id)
        assert invite is not None, "it is open"
        await self.mail_queue.send_project_invite(
            change.store, invite.email, code, project.name, invite.invited_by_name, now
        )
        if (user_id := await change.store.find_user_id(email=invite.email)) is not None:
            tell_invited(change, user_id, project, invitation_id, invite.invited_by_name)
        return invite


async def _check_sender(store: ProjectStore, now: datetime) -> None:
    """Raises ResourceExhaustedError when the caller has sent as many invitations as one may within a day."""
    await store.lock_person(user_id=current_user_id())
    rules.check_bound(
        await store.count_sent(user_id=current_user_id(), since=now - rules.DAY),
        rules.MAX_INVITATIONS_A_DAY,
        "too_many_project_invitations",
        f"One can send at most {rules.MAX_INVITATIONS_A_DAY} invitations a day.",
    )
