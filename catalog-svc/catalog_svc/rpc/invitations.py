"""The RPCs about invitations to private services."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1 import invitation_service_pb2 as pb
from ams.catalog.v1 import invitation_service_pb2_grpc as rpc
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.clock import Clock
from ams_common.context import current_caller, current_user_id
from ams_common.database import Change, Database
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.paging import page_request

from catalog_svc import invitations
from catalog_svc.messages import invitation_message, is_in_marketplace, marketplace_message
from catalog_svc.records import ServiceRecord, found
from catalog_svc.rpc.locked_services import lock_any, lock_own
from catalog_svc.store import Store


@dataclass(kw_only=True, eq=False)
class InvitationService(rpc.InvitationServiceServicer):
    database: Database[Store]
    clock: Clock

    async def CreateInvitation(
        self, request: pb.CreateInvitationRequest, context: Context
    ) -> pb.CreateInvitationResponse:
        now, invitation_id, token = self.clock(), uuid7(), invitations.new_token()
        async with self.database.change() as change:
            record = await _lock(change, request.service_id, now)
            await change.store.insert_invitation(
                invitation_id=invitation_id,
                service_id=record.service_id,
                token_sha256=invitations.token_hash(token),
                note=request.note,
                max_uses=request.max_uses,
                created_by=current_user_id(),
                now=now,
                expires_at=invitations.expiry(now, request.valid_days),
            )
            made = await change.store.find_invitation(invitation_id=invitation_id)
            assert made is not None, "it has just been made"
            change.audit("service", record.service_id, invitation_id=str(invitation_id), note=request.note)
        return pb.CreateInvitationResponse(invitation=invitation_message(made, now), token=token)

    async def ListInvitations(
        self, request: pb.ListInvitationsRequest, context: Context
    ) -> pb.ListInvitationsResponse:
        now = self.clock()
        owner_id = None if ADMIN in current_caller().roles else current_user_id()
        async with self.database.read() as store:
            service_id = UUID(request.service_id)
            found(await store.find_service(service_id=service_id, owner_id=owner_id, now=now))
            page = await store.list_invitations(page_request(request), service_id=service_id)
        return pb.ListInvitationsResponse(
            invitations=[invitation_message(each, now) for each in page.rows],
            next_page_token=page.next_token,
        )

    async def RevokeInvitation(self, request: pb.RevokeInvitationRequest, context: Context) -> pb.Invitation:
        now, invitation_id = self.clock(), UUID(request.invitation_id)
        async with self.database.change() as change:
            record = await _lock(change, request.service_id, now)
            revoked = await change.store.revoke_invitation(
                invitation_id=invitation_id, service_id=record.service_id, now=now
            )
            invitation = await change.store.find_invitation(invitation_id=invitation_id)
            if revoked is None or invitation is None:
                raise invitations.invitation_not_found()
            change.audit("service", record.service_id, invitation_id=request.invitation_id)
        return invitation_message(invitation, now)

    async def AcceptInvitation(
        self, request: pb.AcceptInvitationRequest, context: Context
    ) -> catalog_pb.MarketplaceService:
        now, user_id = self.clock(), current_user_id()
        async with self.database.change() as change:
            # Held, so that no two take its last use.
            invitation_id = await change.store.lock_invitation_by_token(
                token_sha256=invitations.token_hash(request.token)
            )
            if invitation_id is None:
                raise invitations.invitation_not_found()
            invitation = await change.store.find_invitation(invitation_id=invitation_id)
            assert invitation is not None, "it is held"
            record = found(
                await change.store.find_service(service_id=invitation.service_id, owner_id=None, now=now)
            )
            has_accepted = await change.store.has_accepted(invitation_id=invitation_id, user_id=user_id)
            is_over = invitation.revoked_at is not None or not (
                has_accepted or invitations.is_open(invitation, now)
            )
            if is_over or not is_in_marketplace(record):
                raise invitations.invitation_not_found()
            if has_accepted:
                change.nothing_to_audit()
            else:
                await change.store.add_viewer(invitation_id=invitation_id, user_id=user_id, now=now)
                change.audit("service", record.service_id, invitation_id=str(invitation_id))
        return marketplace_message(record)


async def _lock(change: Change[Store], service_id: str, now: datetime) -> ServiceRecord:
    """The caller's service, or any for an admin."""
    lock = lock_any if ADMIN in current_caller().roles else lock_own
    return await lock(change, service_id, now)
