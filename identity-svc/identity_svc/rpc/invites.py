"""The RPCs by which admins invite merchants, who can't register by themselves (FR1)."""

from dataclasses import dataclass

from ams.identity.v1 import identity_service_pb2 as pb
from ams_common.clock import Clock
from ams_common.database import Database
from ams_common.errors import FailedPreconditionError
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.paging import page_request

from identity_svc import invites
from identity_svc.addresses import normalise_email
from identity_svc.mails import MailQueue
from identity_svc.store import Store


@dataclass(kw_only=True, eq=False, repr=False)
class InviteRpcs:
    database: Database[Store]
    mail_queue: MailQueue
    clock: Clock

    async def CreateInvite(self, request: pb.CreateInviteRequest, context: Context) -> pb.Invite:
        """The code goes to the invited address only; not even the admin sees it."""
        email, now, code = normalise_email(request.email), self.clock(), invites.new_code()
        async with self.database.change() as change:
            if (done := await change.replay(request, pb.Invite)) is not None:
                return done
            if await change.store.holds_role(email=email, role="merchant"):
                raise FailedPreconditionError("already_a_merchant", "This address is a merchant's already.")
            invite = await change.store.insert_invite(
                invite_id=uuid7(),
                email=email,
                code_hash=invites.code_hash(code),
                note=request.note,
                now=now,
                expires_at=now + invites.TTL,
            )
            assert invite is not None, "an INSERT without a conflict returns its row"
            await self.mail_queue.send_invite(change.store, email, code, now)
            change.audit("invite", invite.invite_id, email=email)
            await change.remember(request, invite)
        return invite

    async def ListInvites(self, request: pb.ListInvitesRequest, context: Context) -> pb.ListInvitesResponse:
        async with self.database.read() as store:
            page = await store.list_invites(page_request(request))
        return pb.ListInvitesResponse(invites=page.rows, next_page_token=page.next_token)
