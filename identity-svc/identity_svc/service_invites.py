"""RPCs by which admins invite merchants (PRD FR1: merchants don't register by themselves)."""

from collections.abc import Mapping
from typing import Any

from ams.identity.v1 import identity_service_pb2 as pb
from ams_common.clock import to_timestamp
from ams_common.errors import FailedPreconditionError
from ams_common.paging import page_request

from identity_svc import invites
from identity_svc.addresses import normalise_email
from identity_svc.handlers import Context, Handlers


class InviteHandlers(Handlers):
    async def CreateInvite(self, request: pb.CreateInviteRequest, context: Context) -> pb.Invite:
        """The code goes to the invited address only; not even the admin sees it."""
        email, now, code = normalise_email(request.email), self._clock(), invites.new_code()
        async with self._database.change() as change:
            if (done := await change.replay(request, pb.Invite)) is not None:
                return done
            if await self._store.holds_role(change.connection, email, "merchant"):
                raise FailedPreconditionError("already_a_merchant", "This address is a merchant's already.")
            row = await self._store.insert_invite(
                change.connection,
                email=email,
                code_hash=invites.code_hash(code),
                note=request.note,
                now=now,
                expires_at=now + invites.TTL,
            )
            await self._outgoing.send_invite(change.connection, email, code, now)
            change.audit("invite", row["invite_id"], email=email)
            invite = _invite_message(row)
            await change.remember(request, invite)
        return invite

    async def ListInvites(self, request: pb.ListInvitesRequest, context: Context) -> pb.ListInvitesResponse:
        async with self._database.read() as connection:
            page = await self._store.list_invites(connection, page_request(request))
        return pb.ListInvitesResponse(
            invites=map(_invite_message, page.rows), next_page_token=page.next_token
        )


def _invite_message(row: Mapping[str, Any]) -> pb.Invite:
    return pb.Invite(
        invite_id=str(row["invite_id"]),
        email=row["email"],
        note=row["note"],
        created_at=to_timestamp(row["created_at"]),
        expires_at=to_timestamp(row["expires_at"]),
        accepted_at=to_timestamp(row["accepted_at"]),
    )
