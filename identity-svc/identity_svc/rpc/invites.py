"""The RPCs by which admins invite merchants, who can't register by themselves, and further admins (FR1)."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.clock import Clock
from ams_common.database import Change, Database
from ams_common.errors import FailedPreconditionError, FieldViolation, InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.paging import page_request

from identity_svc import invites
from identity_svc.addresses import normalise_email
from identity_svc.mails import MailQueue
from identity_svc.messages import invite_message
from identity_svc.records import Invite
from identity_svc.roles import role_text
from identity_svc.store import Store


@dataclass(kw_only=True, eq=False, repr=False)
class InviteRpcs:
    database: Database[Store]
    mail_queue: MailQueue
    clock: Clock

    async def CreateInvite(self, request: pb.CreateInviteRequest, context: Context) -> pb.Invite:
        """The code goes to the invited address only; not even the admin sees it."""
        email, now, code = normalise_email(request.email), self.clock(), invites.new_code()
        if request.role == CONSUMER:
            violation = FieldViolation("role", "must be MERCHANT or ADMIN: consumers register themselves")
            raise InvalidArgumentError("invite_role_invalid", f"role {violation.description}.", [violation])
        role = role_text(request.role) or "merchant"
        async with self.database.change() as change:
            if (done := await change.replay(request, pb.Invite)) is not None:
                return done
            if await change.store.holds_role(email=email, role=role):
                if role == "admin":
                    raise FailedPreconditionError("already_an_admin", "This address is an admin's already.")
                raise FailedPreconditionError("already_a_merchant", "This address is a merchant's already.")
            if role == "admin":
                # An account to sign in to, which is nothing yet: so whoever joins proves the address.
                await change.store.ensure_user(email, email.partition("@")[0], now)
            invite = await change.store.insert_invite(
                invite_id=uuid7(),
                role=role,
                email=email,
                code_hash=invites.code_hash(code),
                note=request.note,
                now=now,
                expires_at=now + invites.TTL,
            )
            assert invite is not None, "an INSERT without a conflict returns its row"
            await self._mail(change, invite, code, now)
            change.audit("invite", invite.invite_id, email=email, role=role)
            answer = invite_message(invite, now)
            await change.remember(request, answer)
        return answer

    async def RevokeInvite(self, request: pb.RevokeInviteRequest, context: Context) -> pb.Invite:
        now = self.clock()
        async with self.database.change() as change:
            invites.require_revocable(invite := await _lock(change, request.invite_id))
            revoked = await change.store.revoke_invite(invite_id=invite.invite_id, now=now)
            assert revoked is not None, "its row is locked"
            change.audit("invite", invite.invite_id, email=invite.email, role=invite.role)
        return invite_message(revoked, now)

    async def ResendInvite(self, request: pb.ResendInviteRequest, context: Context) -> pb.Invite:
        now, code = self.clock(), invites.new_code()
        async with self.database.change() as change:
            # Who has begun to register with the old code has to begin again.
            await change.store.expire_challenges_of_invite(invite_id=UUID(request.invite_id), now=now)
            invites.require_renewable(invite := await _lock(change, request.invite_id))
            renewed = await change.store.renew_invite(
                invite_id=invite.invite_id,
                code_hash=invites.code_hash(code),
                now=now,
                expires_at=now + invites.TTL,
            )
            assert renewed is not None, "its row is locked"
            await self._mail(change, renewed, code, now)
            change.audit("invite", invite.invite_id, email=invite.email, role=invite.role)
        return invite_message(renewed, now)

    async def ListInvites(self, request: pb.ListInvitesRequest, context: Context) -> pb.ListInvitesResponse:
        async with self.database.read() as store:
            page = await store.list_invites(page_request(request), role=role_text(request.role))
        now = self.clock()
        return pb.ListInvitesResponse(
            invites=[invite_message(invite, now) for invite in page.rows], next_page_token=page.next_token
        )

    async def _mail(self, change: Change[Store], invite: Invite, code: str, now: datetime) -> None:
        await self.mail_queue.send_invite(change.store, invite.email, code, invite.role, now)


async def _lock(change: Change[Store], invite_id: str) -> Invite:
    invite = await change.store.lock_invite(invite_id=UUID(invite_id))
    if invite is None:
        raise NotFoundError("invite_not_found", "There is no such invite.")
    return invite
