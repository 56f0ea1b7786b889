"""The RPCs about access requests: somebody asks for itself or a project, an admin decides once."""

from dataclasses import dataclass
from uuid import UUID

from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.keys.v1 import keys_service_pb2 as pb
from ams_common.clock import utc_now
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    NotFoundError,
    PermissionDeniedError,
)
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.paging import page_request
from ams_common.project_rights import ProjectRight, roles_with

from keys_svc import access_requests
from keys_svc.catalog import Catalog
from keys_svc.decisions import decide, lock_request
from keys_svc.holders import lock_holder, seen_holders
from keys_svc.messages import access_request_message
from keys_svc.store import Store


@dataclass(kw_only=True, eq=False)
class AccessRequestRpcs:
    database: Database[Store]
    catalog: Catalog

    async def RequestAccess(self, request: pb.RequestAccessRequest, context: Context) -> pb.AccessRequest:
        # Before the transaction: a catalog that is slow to answer must hold no connection and no lock.
        service = await self.catalog.find_service(UUID(request.service_id), current_user_id())
        return await self.request_access(request, service)

    async def request_access(
        self, request: pb.RequestAccessRequest, service: ServiceSnapshot | None
    ) -> pb.AccessRequest:
        """What RequestAccess does once the catalog has answered with `service`, None when there is none.

        Raises NotFoundError, PermissionDeniedError, FailedPreconditionError and AlreadyExistsError.
        """
        if service is None or not access_requests.is_open(service):
            # One answer for both: another one would tell anybody that there is a draft.
            raise NotFoundError("service_not_found", "There is no such service.")
        user_id, service_id = current_user_id(), UUID(service.service_id)
        project_id = UUID(request.project_id) if request.project_id else None
        async with self.database.change() as change:
            if (done := await change.replay(request, pb.AccessRequest)) is not None:
                return done
            store = change.store.access
            holder = await lock_holder(change.store, user_id, project_id, ProjectRight.REQUEST_ACCESS)
            consumer_id = holder.consumer.consumer_id
            if await store.is_blocked(consumer_id=consumer_id, service_id=service_id):
                raise PermissionDeniedError(
                    "blocked_by_merchant", "The service’s merchant has blocked you from this service."
                )
            if await store.is_granted(holder_id=holder.holder_id, service_id=service_id):
                whose = "Your project has" if project_id else "You have"
                raise FailedPreconditionError(
                    "access_already_granted", f"{whose} access to this service already."
                )
            added = await store.add_access_request(
                access_request_id=uuid7(),
                consumer_id=consumer_id,
                project_id=project_id,
                service_id=service_id,
                merchant_id=UUID(service.merchant_id),
                note=request.note,
                requested_at=utc_now(),
                requested_by=user_id,
            )
            if added is None:
                raise AlreadyExistsError(
                    "access_already_requested", "A request for this service is pending already."
                )
            change.audit("access_request", added.access_request_id, service_id=request.service_id)
            answer = access_request_message(added)
            await change.remember(request, answer)
            return answer

    async def ListGrantedServices(
        self, request: pb.ListGrantedServicesRequest, context: Context
    ) -> pb.ListGrantedServicesResponse:
        consumer_id = UUID(request.consumer_id)
        async with self.database.read() as store:
            memberships = await store.memberships_of(consumer_id)
            service_ids = await store.access.granted_services(
                consumer_id=consumer_id,
                holder_ids=[consumer_id, *memberships],
                roles=roles_with(ProjectRight.PULL_IMAGES),
            )
        return pb.ListGrantedServicesResponse(service_ids=map(str, service_ids))

    async def ListAccessRequests(
        self, request: pb.ListAccessRequestsRequest, context: Context
    ) -> pb.ListAccessRequestsResponse:
        async with self.database.read() as store:
            page = await store.access.list_access_requests(
                page_request(request),
                status=access_requests.status_filter(request.status),
                consumer_id=UUID(request.consumer_id) if request.consumer_id else None,
            )
        return pb.ListAccessRequestsResponse(
            access_requests=map(access_request_message, page.rows), next_page_token=page.next_token
        )

    async def ListConsumerAccessRequests(
        self, request: pb.ListConsumerAccessRequestsRequest, context: Context
    ) -> pb.ListConsumerAccessRequestsResponse:
        user_id = current_user_id()
        project_id = UUID(request.project_id) if request.project_id else None
        async with self.database.read() as store:
            memberships = await store.memberships_of(user_id)
            page = await store.access.list_consumer_access_requests(
                page_request(request),
                holder_ids=seen_holders(user_id, memberships, ProjectRight.SEE_PROJECT, project_id),
                status=access_requests.status_filter(request.status),
            )
        return pb.ListConsumerAccessRequestsResponse(
            access_requests=map(access_request_message, page.rows), next_page_token=page.next_token
        )

    async def ApproveAccess(self, request: pb.ApproveAccessRequest, context: Context) -> pb.AccessRequest:
        return await self._decide(request.access_request_id, access_requests.APPROVED, request.reason)

    async def DenyAccess(self, request: pb.DenyAccessRequest, context: Context) -> pb.AccessRequest:
        return await self._decide(request.access_request_id, access_requests.DENIED, request.reason)

    async def _decide(self, access_request_id: str, status: str, reason: str) -> pb.AccessRequest:
        async with self.database.change() as change:
            pending = await lock_request(change, UUID(access_request_id))
            resolved = await decide(change, pending, status, reason, access_requests.ADMIN, current_user_id())
        return access_request_message(resolved)
