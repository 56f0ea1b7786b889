"""The RPCs about access requests."""

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

from keys_svc import access, standing
from keys_svc.access import AccessRequest
from keys_svc.catalog import Catalog
from keys_svc.store import Store


class AccessRpcs:
    """A consumer asks, an admin decides once."""

    def __init__(self, database: Database, store: Store, catalog: Catalog) -> None:
        self._database = database
        self._store = store
        self._catalog = catalog

    async def RequestAccess(self, request: pb.RequestAccessRequest, context: Context) -> pb.AccessRequest:
        # Asked before the transaction: no connection and no lock waits for another service.
        service = await self._catalog.find_service(UUID(request.service_id))
        return await self.request_open(request, service)

    async def request_open(
        self, request: pb.RequestAccessRequest, service: ServiceSnapshot | None
    ) -> pb.AccessRequest:
        """What RequestAccess does once the catalog has answered with `service`."""
        if service is None or not access.is_open(service):
            # One answer for both: nobody can find out that there is a draft.
            raise NotFoundError("service_not_found", "There is no such service.")
        async with self._database.change() as change:
            if (done := await change.replay(request, pb.AccessRequest)) is not None:
                return done
            added = await self._add_access_request(change, service, request.note)
            change.audit("access_request", added.access_request_id, service_id=request.service_id)
            answer = access.access_request_message(added)
            await change.remember(request, answer)
            return answer

    async def ListGrantedServices(
        self, request: pb.ListGrantedServicesRequest, context: Context
    ) -> pb.ListGrantedServicesResponse:
        async with self._database.read() as connection:
            service_ids = await self._store.granted_services(connection, UUID(request.consumer_id))
        return pb.ListGrantedServicesResponse(service_ids=map(str, service_ids))

    async def ListAccessRequests(
        self, request: pb.ListAccessRequestsRequest, context: Context
    ) -> pb.ListAccessRequestsResponse:
        """Oldest first, so that with the filter PENDING who has waited longest stands on top."""
        async with self._database.read() as connection:
            page = await self._store.list_access_requests(
                connection,
                page_request(request),
                status=access.status_filter(request.status),
                consumer_id=UUID(request.consumer_id) if request.consumer_id else None,
            )
        return pb.ListAccessRequestsResponse(
            access_requests=map(access.access_request_message, page.rows), next_page_token=page.next_token
        )

    async def ListConsumerAccessRequests(
        self, request: pb.ListConsumerAccessRequestsRequest, context: Context
    ) -> pb.ListConsumerAccessRequestsResponse:
        async with self._database.read() as connection:
            page = await self._store.list_consumer_access_requests(
                connection,
                page_request(request),
                current_user_id(),
                status=access.status_filter(request.status),
            )
        return pb.ListConsumerAccessRequestsResponse(
            access_requests=map(access.access_request_message, page.rows), next_page_token=page.next_token
        )

    async def ApproveAccess(self, request: pb.ApproveAccessRequest, context: Context) -> pb.AccessRequest:
        async with self._database.change() as change:
            resolved = await self._resolve(
                change, UUID(request.access_request_id), access.APPROVED, request.reason
            )
            await self._store.add_grant(change.connection, resolved)
            return access.access_request_message(resolved)

    async def DenyAccess(self, request: pb.DenyAccessRequest, context: Context) -> pb.AccessRequest:
        async with self._database.change() as change:
            resolved = await self._resolve(
                change, UUID(request.access_request_id), access.DENIED, request.reason
            )
            return access.access_request_message(resolved)

    async def _add_access_request(self, change: Change, service: ServiceSnapshot, note: str) -> AccessRequest:
        consumer_id, service_id = current_user_id(), UUID(service.service_id)
        standing.require_active(await self._store.lock_consumer(change.connection, consumer_id))
        if await self._store.is_granted(change.connection, consumer_id, service_id):
            raise FailedPreconditionError(
                "access_already_granted", "You have access to this service already."
            )
        added = await self._store.add_access_request(
            change.connection,
            access_request_id=uuid7(),
            consumer_id=consumer_id,
            service_id=service_id,
            merchant_id=UUID(service.merchant_id),
            note=note,
            requested_at=utc_now(),
        )
        if added is None:
            raise AlreadyExistsError("access_already_requested", "Your request for this service is pending.")
        return added

    async def _resolve(
        self, change: Change, access_request_id: UUID, status: str, reason: str
    ) -> AccessRequest:
        pending = await self._store.lock_access_request(change.connection, access_request_id)
        if pending is None:
            raise NotFoundError("access_request_not_found", "There is no such access request.")
        access.require_pending(pending)
        # So that the consumer can't ask again between the end of this request and its grant.
        await self._store.lock_consumer(change.connection, pending.consumer_id)
        resolved = await self._store.resolve_access_request(
            change.connection,
            access_request_id,
            status=status,
            reason=reason,
            resolved_at=utc_now(),
            resolved_by=current_user_id(),
        )
        change.audit(
            "access_request",
            access_request_id,
            consumer_id=str(pending.consumer_id),
            service_id=str(pending.service_id),
            reason=reason,
        )
        return resolved
