"""The RPCs about access requests: a consumer asks, an admin decides once."""

from dataclasses import dataclass
from uuid import UUID

from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.keys.v1 import keys_service_pb2 as pb
from ams_common.clock import utc_now
from ams_common.context import current_user_id
from ams_common.database import Change, Database
from ams_common.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.paging import page_request

from keys_svc import access_requests, standing
from keys_svc.access_requests import AccessRequest
from keys_svc.catalog import Catalog
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
        consumer_id, service_id = current_user_id(), UUID(service.service_id)
        async with self.database.change() as change:
            if (done := await change.replay(request, pb.AccessRequest)) is not None:
                return done
            standing.require_active((await change.store.lock_consumer(consumer_id)).standing)
            if await change.store.is_granted(consumer_id=consumer_id, service_id=service_id):
                raise FailedPreconditionError(
                    "access_already_granted", "You have access to this service already."
                )
            added = await change.store.add_access_request(
                access_request_id=uuid7(),
                consumer_id=consumer_id,
                service_id=service_id,
                merchant_id=UUID(service.merchant_id),
                note=request.note,
                requested_at=utc_now(),
            )
            if added is None:
                raise AlreadyExistsError(
                    "access_already_requested", "Your request for this service is pending."
                )
            change.audit("access_request", added.access_request_id, service_id=request.service_id)
            answer = access_request_message(added)
            await change.remember(request, answer)
            return answer

    async def ListGrantedServices(
        self, request: pb.ListGrantedServicesRequest, context: Context
    ) -> pb.ListGrantedServicesResponse:
        async with self.database.read() as store:
            service_ids = await store.granted_services(consumer_id=UUID(request.consumer_id))
        return pb.ListGrantedServicesResponse(service_ids=map(str, service_ids))

    async def ListAccessRequests(
        self, request: pb.ListAccessRequestsRequest, context: Context
    ) -> pb.ListAccessRequestsResponse:
        async with self.database.read() as store:
            page = await store.list_access_requests(
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
        async with self.database.read() as store:
            page = await store.list_consumer_access_requests(
                page_request(request),
                consumer_id=current_user_id(),
                status=access_requests.status_filter(request.status),
            )
        return pb.ListConsumerAccessRequestsResponse(
            access_requests=map(access_request_message, page.rows), next_page_token=page.next_token
        )

    async def ApproveAccess(self, request: pb.ApproveAccessRequest, context: Context) -> pb.AccessRequest:
        async with self.database.change() as change:
            resolved = await self._resolve(
                change, UUID(request.access_request_id), access_requests.APPROVED, request.reason
            )
            await change.store.add_grant(
                consumer_id=resolved.consumer_id,
                service_id=resolved.service_id,
                merchant_id=resolved.merchant_id,
                access_request_id=resolved.access_request_id,
                granted_at=resolved.resolved_at,
            )
            return access_request_message(resolved)

    async def DenyAccess(self, request: pb.DenyAccessRequest, context: Context) -> pb.AccessRequest:
        async with self.database.change() as change:
            resolved = await self._resolve(
                change, UUID(request.access_request_id), access_requests.DENIED, request.reason
            )
            return access_request_message(resolved)

    async def _resolve(
        self, change: Change[Store], access_request_id: UUID, status: str, reason: str
    ) -> AccessRequest:
        pending = await change.store.lock_access_request(access_request_id=access_request_id)
        if pending is None:
            raise NotFoundError("access_request_not_found", "There is no such access request.")
        access_requests.require_pending(pending)
        # Without the lock the consumer could ask again between the end of this request and its grant.
        await change.store.lock_consumer(pending.consumer_id)
        resolved = await change.store.resolve_access_request(
            access_request_id=access_request_id,
            status=status,
            reason=reason,
            resolved_at=utc_now(),
            resolved_by=current_user_id(),
        )
        assert resolved is not None, "it is locked, and pending"
        change.audit(
            "access_request",
            access_request_id,
            consumer_id=str(pending.consumer_id),
            service_id=str(pending.service_id),
            reason=reason,
        )
        return resolved
