"""The RPCs of ServiceConsumersService: what merchants do about those who use their services."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams.keys.v1 import service_consumers_service_pb2 as pb
from ams.keys.v1 import service_consumers_service_pb2_grpc as rpc
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_DISABLED, KEY_EXPIRED, KEY_REVOKED, KeyStatus
from ams_common.clock import to_timestamp, utc_now
from ams_common.context import current_user_id
from ams_common.database import Change, Database
from ams_common.errors import FailedPreconditionError, NotFoundError
from ams_common.etags import check_etag
from ams_common.interceptors import Context
from ams_common.outbox import Deliveries
from ams_common.paging import page_request
from ams_common.pseudonyms import Pseudonyms, is_key_pseudonym, is_pseudonym

from keys_svc import access_requests
from keys_svc.access_notices import tell_ended
from keys_svc.access_requests import MERCHANT, PARTIES, AccessRequest
from keys_svc.access_store import ServiceConsumer, ServiceKey
from keys_svc.consumers import Consumer
from keys_svc.decisions import decide, lock_request
from keys_svc.publishing import write_key, write_keys_of
from keys_svc.store import Store


@dataclass(slots=True)
class _Changing:
    """One consumer of one of the merchant's services, locked."""

    change: Change[Store]
    merchant_id: UUID
    consumer: Consumer
    service_id: UUID
    row: ServiceConsumer
    now: datetime

    async def end(self, **details: str) -> ServiceConsumer:
        """Tells the gateways and the audit log; the consumer as it is from now on."""
        await write_keys_of(self.change, self.consumer, self.now)
        consumer_id = str(self.consumer.consumer_id)
        self.change.audit("service", self.service_id, consumer_id=consumer_id, **details)
        return await self.read()

    async def read(self) -> ServiceConsumer:
        [row] = await self.change.store.access.find_service_consumers(
            merchant_id=self.merchant_id,
            consumer_id=self.consumer.consumer_id,
            service_id=self.service_id,
        )
        return row


@dataclass(kw_only=True, eq=False)
class ServiceConsumersService(rpc.ServiceConsumersServiceServicer):
    """Everything is looked for among what is the merchant's own: another's answers NOT_FOUND."""

    database: Database[Store]
    pseudonyms: Pseudonyms
    deliveries: Deliveries

    async def ListMerchantAccessRequests(
        self, request: pb.ListMerchantAccessRequestsRequest, context: Context
    ) -> pb.ListMerchantAccessRequestsResponse:
        async with self.database.read() as store:
            page = await store.access.list_merchant_access_requests(
                page_request(request),
                merchant_id=current_user_id(),
                status=access_requests.status_filter(request.status),
                service_id=UUID(request.service_id) if request.service_id else None,
            )
            policies = await store.access.find_access_policies(
                service_ids=list({row.service_id for row in page.rows})
            )
        decided_here = {policy.service_id for policy in policies if policy.merchant_approves}
        return pb.ListMerchantAccessRequestsResponse(
            access_requests=[self._request_message(row, row.service_id in decided_here) for row in page.rows],
            next_page_token=page.next_token,
        )

    async def ApproveMerchantAccess(
        self, request: pb.DecideMerchantAccessRequest, context: Context
    ) -> pb.MerchantAccessRequest:
        return await self._decide(request, access_requests.APPROVED)

    async def DenyMerchantAccess(
        self, request: pb.DecideMerchantAccessRequest, context: Context
    ) -> pb.MerchantAccessRequest:
        return await self._decide(request, access_requests.DENIED)

    async def ListServiceConsumers(
        self, request: pb.ListServiceConsumersRequest, context: Context
    ) -> pb.ListServiceConsumersResponse:
        merchant_id = current_user_id()
        async with self.database.read() as store:
            page = await store.access.list_service_consumers(
                page_request(request), merchant_id=merchant_id, service_id=UUID(request.service_id)
            )
        return pb.ListServiceConsumersResponse(
            consumers=[self._consumer_message(merchant_id, row) for row in page.rows],
            next_page_token=page.next_token,
        )

    async def GetServiceConsumer(
        self, request: pb.GetServiceConsumerRequest, context: Context
    ) -> pb.ServiceConsumerDetail:
        merchant_id, now = current_user_id(), utc_now()
        async with self.database.read() as store:
            consumer_id = await self._find_consumer(store, merchant_id, None, request.consumer)
            rows = await store.access.find_service_consumers(
                merchant_id=merchant_id, consumer_id=consumer_id, service_id=None
            )
            keys = await store.access.list_service_keys(
                merchant_id=merchant_id, consumer_id=consumer_id, service_id=None
            )
        return pb.ServiceConsumerDetail(
            services=[self._consumer_message(merchant_id, row) for row in rows],
            keys=[self._key_message(merchant_id, key, now) for key in keys],
        )

    async def BlockServiceConsumer(
        self, request: pb.BlockServiceConsumerRequest, context: Context
    ) -> pb.ServiceConsumer:
        async with self._changing(request.service_id, request.consumer, request.etag) as changing:
            if changing.row.blocked_at is not None:
                raise FailedPreconditionError("consumer_blocked", "This consumer is blocked already.")
            answer = await self._set_block(changing, changing.now, request.reason)
        return await self.deliveries.tell(answer, changing.change)

    async def UnblockServiceConsumer(
        self, request: pb.UnblockServiceConsumerRequest, context: Context
    ) -> pb.ServiceConsumer:
        async with self._changing(request.service_id, request.consumer, request.etag) as changing:
            if changing.row.blocked_at is None:
                raise FailedPreconditionError("consumer_not_blocked", "This consumer isn't blocked.")
            return await self._set_block(changing, None, "")

    async def SetServiceConsumerLimits(
        self, request: pb.SetServiceConsumerLimitsRequest, context: Context
    ) -> pb.ServiceConsumer:
        limits = request.limits
        async with self._changing(request.service_id, request.consumer, request.etag) as changing:
            await changing.change.store.access.set_limits(
                service_id=changing.service_id,
                consumer_id=changing.consumer.consumer_id,
                merchant_id=changing.merchant_id,
                per_minute=limits.per_minute,
                per_day=limits.per_day,
                per_month=limits.per_month,
            )
            row = await changing.end(
                per_minute=str(limits.per_minute),
                per_day=str(limits.per_day),
                per_month=str(limits.per_month),
            )
        return await self.deliveries.tell(self._consumer_message(changing.merchant_id, row), changing.change)

    async def EndServiceConsumerAccess(
        self, request: pb.EndServiceConsumerAccessRequest, context: Context
    ) -> pb.ServiceConsumer:
        async with self._changing(request.service_id, request.consumer, request.etag) as changing:
            ended = await changing.change.store.access.end_service_grants(
                consumer_id=changing.consumer.consumer_id,
                service_id=changing.service_id,
                ended_at=changing.now,
                end_reason=request.reason,
            )
            if not ended:
                raise FailedPreconditionError("grant_ended", "This consumer has no access any more.")
            for grant in ended:
                await tell_ended(changing.change, grant)
            row = await changing.end(reason=request.reason)
        return await self.deliveries.tell(self._consumer_message(changing.merchant_id, row), changing.change)

    async def RevokeServiceKey(self, request: pb.RevokeServiceKeyRequest, context: Context) -> pb.ServiceKey:
        async with self._changing(request.service_id, request.consumer) as changing:
            keys = await self._service_keys(changing)
            key = self._named(changing.merchant_id, keys, request.key)
            if key.revoked_at is not None:
                raise FailedPreconditionError("service_key_revoked", "This key is revoked already.")
            await changing.change.store.access.revoke_service_key(
                key_id=key.key_id, service_id=changing.service_id, revoked_at=changing.now
            )
            await write_key(changing.change, changing.consumer, key.key_id, changing.now)
            changing.change.audit("key", key.key_id, service_id=request.service_id)
            revoked = self._named(changing.merchant_id, await self._service_keys(changing), request.key)
        answer = self._key_message(changing.merchant_id, revoked, changing.now)
        return await self.deliveries.tell(answer, changing.change)

    async def _decide(self, request: pb.DecideMerchantAccessRequest, status: str) -> pb.MerchantAccessRequest:
        merchant_id = current_user_id()
        async with self.database.change() as change:
            pending = await lock_request(change, UUID(request.access_request_id))
            if pending.merchant_id != merchant_id:
                # As for one that there isn't.
                access_requests.found(None)
            policy = await change.store.access.find_access_policy(service_id=pending.service_id)
            if policy is None or not policy.merchant_approves:
                raise FailedPreconditionError(
                    "merchant_does_not_approve", "The admins of AMS decide who may use this service."
                )
            resolved = await decide(change, pending, status, request.reason, MERCHANT, merchant_id)
        return self._request_message(resolved, True)

    async def _set_block(
        self, changing: _Changing, blocked_at: datetime | None, reason: str
    ) -> pb.ServiceConsumer:
        await changing.change.store.access.set_block(
            service_id=changing.service_id,
            consumer_id=changing.consumer.consumer_id,
            merchant_id=changing.merchant_id,
            blocked_at=blocked_at,
            block_reason=reason,
        )
        row = await changing.end(reason=reason)
        return self._consumer_message(changing.merchant_id, row)

    @asynccontextmanager
    async def _changing(self, service_id: str, name: str, etag: str = "") -> AsyncIterator[_Changing]:
        """Raises NotFoundError for who never had access to that service of the merchant's, and AbortedError
        etag_mismatch."""
        merchant_id, service = current_user_id(), UUID(service_id)
        # Before any lock: it may take a while where a service has very many consumers.
        async with self.database.read() as store:
            consumer_id = await self._find_consumer(store, merchant_id, service, name)
        async with self.database.change() as change:
            consumer = await change.store.lock_consumer(consumer_id)
            rows = await change.store.access.find_service_consumers(
                merchant_id=merchant_id, consumer_id=consumer_id, service_id=service
            )
            if not rows:
                raise _consumer_not_found()
            check_etag(etag, self._consumer_message(merchant_id, rows[0]))
            yield _Changing(change, merchant_id, consumer, service, rows[0], utc_now())

    async def _find_consumer(
        self, store: Store, merchant_id: UUID, service_id: UUID | None, name: str
    ) -> UUID:
        if not is_pseudonym(name):
            raise _consumer_not_found()
        consumer_ids = await store.access.list_consumers_of_merchant(
            merchant_id=merchant_id, service_id=service_id
        )
        # Apart from the event loop: 100,000 consumers are a fifth of a second.
        found = await asyncio.to_thread(self.pseudonyms.find_consumers, [name], merchant_id, consumer_ids)
        if not found:
            raise _consumer_not_found()
        return found[0]

    async def _service_keys(self, changing: _Changing) -> list[ServiceKey]:
        return await changing.change.store.access.list_service_keys(
            merchant_id=changing.merchant_id,
            consumer_id=changing.consumer.consumer_id,
            service_id=changing.service_id,
        )

    def _named(self, merchant_id: UUID, keys: list[ServiceKey], name: str) -> ServiceKey:
        if is_key_pseudonym(name):
            for key in keys:
                if self.pseudonyms.of_key(merchant_id, key.key_id) == name:
                    return key
        raise NotFoundError("key_not_found", "This consumer has no such key for the service.")

    def _request_message(self, request: AccessRequest, is_decided_here: bool) -> pb.MerchantAccessRequest:
        is_pending = request.status == access_requests.PENDING
        return pb.MerchantAccessRequest(
            access_request_id=str(request.access_request_id),
            consumer=self.pseudonyms.of_consumer(request.merchant_id, request.consumer_id),
            service_id=str(request.service_id),
            status=access_requests.status_value(request.status),
            # Written to whoever decides: it may say who the consumer is.
            note=request.note if is_decided_here else "",
            reason=request.reason if is_decided_here else "",
            requested_at=to_timestamp(request.requested_at),
            resolved_at=to_timestamp(request.resolved_at),
            resolved_by=PARTIES[request.resolver],
            is_mine_to_decide=is_pending and is_decided_here,
        )

    def _consumer_message(self, merchant_id: UUID, row: ServiceConsumer) -> pb.ServiceConsumer:
        limits = pb.ConsumerLimits(per_minute=row.per_minute, per_day=row.per_day, per_month=row.per_month)
        is_merchants = row.ended_by == MERCHANT
        return pb.ServiceConsumer(
            consumer=self.pseudonyms.of_consumer(merchant_id, row.consumer_id),
            service_id=str(row.service_id),
            has_access=row.ended_at is None,
            granted_at=to_timestamp(row.granted_at),
            ended_at=to_timestamp(row.ended_at),
            ended_by=PARTIES[row.ended_by],
            # What others wrote isn't the merchant's to read.
            end_reason=row.end_reason if is_merchants else "",
            blocked_at=to_timestamp(row.blocked_at),
            block_reason=row.block_reason,
            limits=limits if limits != pb.ConsumerLimits() else None,
        )

    def _key_message(self, merchant_id: UUID, key: ServiceKey, now: datetime) -> pb.ServiceKey:
        return pb.ServiceKey(
            key=self.pseudonyms.of_key(merchant_id, key.key_id),
            service_id=str(key.service_id),
            status=_status_of(key, now),
            is_test=key.is_test,
            created_at=to_timestamp(key.created_at),
            expires_at=to_timestamp(key.expires_at),
            revoked_at=to_timestamp(key.revoked_at),
        )


def _status_of(key: ServiceKey, now: datetime) -> KeyStatus.ValueType:
    """As keys.status_of has it; one that the merchant has revoked is revoked to it."""
    if key.key_revoked_at is not None or key.revoked_at is not None:
        return KEY_REVOKED
    if now >= key.expires_at:
        return KEY_EXPIRED
    return KEY_DISABLED if key.disabled_at is not None else KEY_ACTIVE


def _consumer_not_found() -> NotFoundError:
    return NotFoundError("consumer_not_found", "There is no such consumer among yours.")
