"""The RPCs of GrantsService: access after it was asked for, as consumers and admins see it."""

from dataclasses import dataclass
from uuid import UUID

from ams.keys.v1 import grants_service_pb2 as pb
from ams.keys.v1 import grants_service_pb2_grpc as rpc
from ams.keys.v1.keys_service_pb2 import AccessRequest as AccessRequestMessage
from ams.keys.v1.keys_service_pb2 import ListKeysResponse
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.clock import utc_now
from ams_common.context import current_caller, current_user_id
from ams_common.database import Change, Database
from ams_common.errors import FieldViolation, InvalidArgumentError, NotFoundError
from ams_common.interceptors import Context
from ams_common.outbox import Deliveries
from ams_common.paging import page_request
from ams_common.project_rights import ProjectRight
from ams_common.projects import require_right

from keys_svc import access_requests, grants
from keys_svc.access_notices import tell_ended
from keys_svc.access_requests import WITHDRAWN
from keys_svc.access_store import AccessPolicy
from keys_svc.decisions import decide, lock_request
from keys_svc.grants import Grant
from keys_svc.holders import seen_holders
from keys_svc.messages import access_request_message, grant_message, key_message
from keys_svc.publishing import write_keys_of
from keys_svc.store import Store


@dataclass(kw_only=True, eq=False)
class GrantsService(rpc.GrantsServiceServicer):
    database: Database[Store]
    deliveries: Deliveries

    async def WithdrawAccessRequest(
        self, request: pb.WithdrawAccessRequestRequest, context: Context
    ) -> AccessRequestMessage:
        user_id, request_id = current_user_id(), UUID(request.access_request_id)
        async with self.database.change() as change:
            store = change.store.access
            seen = access_requests.found(
                await store.find_seen_request(access_request_id=request_id, user_id=user_id)
            )
            if seen.project_id is not None:
                # One's own may always be withdrawn; others' by whoever may end what they give.
                right = ProjectRight.SEE_PROJECT if seen.requested_by == user_id else ProjectRight.END_ACCESS
                await require_right(change.connection, seen.project_id, user_id, right)
            locked = await lock_request(change, request_id)
            withdrawn = await decide(change, locked, WITHDRAWN, "", access_requests.CONSUMER, user_id)
        return access_request_message(withdrawn)

    async def ListConsumerGrants(
        self, request: pb.ListConsumerGrantsRequest, context: Context
    ) -> pb.ListConsumerGrantsResponse:
        user_id = current_user_id()
        project_id = UUID(request.project_id) if request.project_id else None
        async with self.database.read() as store:
            memberships = await store.memberships_of(user_id)
            page = await store.access.list_consumer_grants(
                page_request(request),
                holder_ids=seen_holders(user_id, memberships, ProjectRight.SEE_PROJECT, project_id),
                service_id=UUID(request.service_id) if request.service_id else None,
                only_in_force=request.only_in_force,
            )
        return pb.ListConsumerGrantsResponse(
            grants=map(grant_message, page.rows), next_page_token=page.next_token
        )

    async def EndConsumerGrant(self, request: pb.EndGrantRequest, context: Context) -> pb.Grant:
        user_id, grant_id = current_user_id(), UUID(request.grant_id)
        async with self.database.change() as change:
            grant = grants.found(
                await change.store.access.find_seen_grant(grant_id=grant_id, user_id=user_id)
            )
            if grant.project_id is not None:
                await require_right(change.connection, grant.project_id, user_id, ProjectRight.END_ACCESS)
            ended = await _end(change, grant, access_requests.CONSUMER, request.reason)
        return await self.deliveries.tell(grant_message(ended), change)

    async def ListGrants(self, request: pb.ListGrantsRequest, context: Context) -> pb.ListGrantsResponse:
        if not request.consumer_id and not request.service_id:
            violation = FieldViolation("consumerId", "or a service is required")
            raise InvalidArgumentError("filter_required", "Name a consumer or a service.", [violation])
        service_id = UUID(request.service_id) if request.service_id else None
        async with self.database.read() as store:
            if request.consumer_id:
                page = await store.access.list_grants_of_consumer(
                    page_request(request), consumer_id=UUID(request.consumer_id), service_id=service_id
                )
            else:
                page = await store.access.list_grants_of_service(page_request(request), service_id=service_id)
        return pb.ListGrantsResponse(grants=map(grant_message, page.rows), next_page_token=page.next_token)

    async def EndGrant(self, request: pb.EndGrantRequest, context: Context) -> pb.Grant:
        async with self.database.change() as change:
            grant = grants.found(await change.store.access.find_grant(grant_id=UUID(request.grant_id)))
            ended = await _end(change, grant, access_requests.ADMIN, request.reason)
        return await self.deliveries.tell(grant_message(ended), change)

    async def ListKeysOfConsumer(
        self, request: pb.ListKeysOfConsumerRequest, context: Context
    ) -> ListKeysResponse:
        now = utc_now()
        async with self.database.read() as store:
            page = await store.list_keys_of_consumer(
                page_request(request), consumer_id=UUID(request.consumer_id)
            )
        return ListKeysResponse(
            keys=[key_message(key, now) for key in page.rows], next_page_token=page.next_token
        )

    async def GetAccessPolicy(self, request: pb.GetAccessPolicyRequest, context: Context) -> pb.AccessPolicy:
        async with self.database.read() as store:
            policy = await store.access.find_access_policy(service_id=UUID(request.service_id))
        caller = current_caller()
        if ADMIN not in caller.roles and (policy is None or policy.merchant_id != caller.user_id):
            raise _service_not_found()
        return _policy_message(policy)

    async def SetAccessPolicy(self, request: pb.SetAccessPolicyRequest, context: Context) -> pb.AccessPolicy:
        async with self.database.change() as change:
            policy = await change.store.access.set_access_policy(
                service_id=UUID(request.service_id), merchant_approves=request.merchant_approves
            )
            answer = _policy_message(policy)
            change.audit(
                "service", request.service_id, merchant_approves=str(request.merchant_approves).lower()
            )
        return answer


async def _end(change: Change[Store], grant: Grant, party: str, reason: str) -> Grant:
    """Ends a grant in force; the gateways hear of it for all keys of its consumer."""
    consumer = await change.store.lock_consumer(grant.consumer_id)
    grants.require_in_force(grants.found(await change.store.access.find_grant(grant_id=grant.grant_id)))
    now = utc_now()
    ended = await change.store.access.end_grant(
        grant_id=grant.grant_id, ended_at=now, ended_by=party, end_reason=reason
    )
    assert ended is not None, "it is in force, and its consumer locked"
    await write_keys_of(change, consumer, now)
    await tell_ended(change, ended)
    change.audit(
        "grant",
        ended.grant_id,
        consumer_id=str(ended.consumer_id),
        service_id=str(ended.service_id),
        reason=reason,
    )
    return ended


def _policy_message(policy: AccessPolicy | None) -> pb.AccessPolicy:
    if policy is None:
        raise _service_not_found()
    return pb.AccessPolicy(service_id=str(policy.service_id), merchant_approves=policy.merchant_approves)


def _service_not_found() -> NotFoundError:
    return NotFoundError("service_not_found", "There is no such service.")
