"""The RPCs by which admins see merchants and consumers, and change their standing (FR4-ADMIN-01, 02)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from ams.identity.v1 import identity_service_pb2 as pb
from ams_common.context import current_caller
from ams_common.database import Change, Database
from ams_common.interceptors import Context
from ams_common.paging import page_request, patterns_of

from identity_svc.accounts import change_standing, publish_consumer, publish_merchant
from identity_svc.roles import BLOCK, REINSTATE, SUSPEND, UNBLOCK, Transition, role_not_found, standing_text
from identity_svc.standing_readers import READERS, StandingReaders
from identity_svc.store import Store

_CHANGES_PER_PAGE = 1000

T = TypeVar("T", pb.Merchant, pb.Consumer)


@dataclass(kw_only=True, eq=False, repr=False)
class AccountRpcs:
    database: Database[Store]
    standing_readers: StandingReaders

    async def ListMerchants(
        self, request: pb.ListMerchantsRequest, context: Context
    ) -> pb.ListMerchantsResponse:
        standing, patterns = standing_text(request.standing), patterns_of(request.query)
        async with self.database.read() as store:
            page = await store.list_merchants(page_request(request), standing=standing, patterns=patterns)
        return pb.ListMerchantsResponse(merchants=page.rows, next_page_token=page.next_token)

    async def ListConsumers(
        self, request: pb.ListConsumersRequest, context: Context
    ) -> pb.ListConsumersResponse:
        async with self.database.read() as store:
            page = await store.list_consumers(
                page_request(request),
                standing=standing_text(request.standing),
                words=request.query.split(),
                patterns=patterns_of(request.query),
            )
        return pb.ListConsumersResponse(consumers=page.rows, next_page_token=page.next_token)

    async def GetMerchant(self, request: pb.GetMerchantRequest, context: Context) -> pb.Merchant:
        async with self.database.read() as store:
            merchant = await store.find_merchant(user_id=UUID(request.merchant_id))
        if merchant is None:
            raise role_not_found("merchant")
        return merchant

    async def GetConsumer(self, request: pb.GetConsumerRequest, context: Context) -> pb.Consumer:
        async with self.database.read() as store:
            consumer = await store.find_consumer(user_id=UUID(request.consumer_id))
        if consumer is None:
            raise role_not_found("consumer")
        return consumer

    async def BatchGetConsumers(
        self, request: pb.BatchGetConsumersRequest, context: Context
    ) -> pb.BatchGetConsumersResponse:
        async with self.database.read() as store:
            consumers = await store.find_consumers(user_ids=list(map(UUID, request.consumer_ids)))
        return pb.BatchGetConsumersResponse(consumers=consumers)

    async def SuspendMerchant(self, request: pb.SuspendMerchantRequest, context: Context) -> pb.Merchant:
        answer = await self._change(SUSPEND, request.merchant_id, request.reason, publish_merchant)
        return await self.standing_readers.tell(answer, SUSPEND.role, UUID(request.merchant_id))

    async def ReinstateMerchant(self, request: pb.ReinstateMerchantRequest, context: Context) -> pb.Merchant:
        return await self._change(REINSTATE, request.merchant_id, request.reason, publish_merchant)

    async def BlockConsumer(self, request: pb.BlockConsumerRequest, context: Context) -> pb.Consumer:
        answer = await self._change(BLOCK, request.consumer_id, request.reason, publish_consumer)
        return await self.standing_readers.tell(answer, BLOCK.role, UUID(request.consumer_id))

    async def UnblockConsumer(self, request: pb.UnblockConsumerRequest, context: Context) -> pb.Consumer:
        return await self._change(UNBLOCK, request.consumer_id, request.reason, publish_consumer)

    async def GetRevisions(self, request: pb.GetRevisionsRequest, context: Context) -> pb.Revisions:
        if (service := current_caller().service) in READERS.values():
            async with self.database.connection() as connection:
                await Store(connection).note_standing_reader(service=service)
        return await find_revisions(self.database)

    async def ListStandingChanges(
        self, request: pb.ListStandingChangesRequest, context: Context
    ) -> pb.ListStandingChangesResponse:
        async with self.database.read() as store:
            changes = await store.list_standing_changes(
                after_version=request.after_version, limit=request.page_size or _CHANGES_PER_PAGE
            )
        async with self.database.connection() as connection:
            await Store(connection).save_standing_reader(
                service=current_caller().service,
                version=request.after_version,
                is_delivered=request.is_delivered,
            )
        return pb.ListStandingChangesResponse(changes=changes)

    async def _change(
        self,
        transition: Transition,
        user_id: str,
        reason: str,
        publish: Callable[[Change[Store], UUID], Awaitable[T]],
    ) -> T:
        async with self.database.change() as change:
            await change_standing(change, transition, UUID(user_id), reason)
            return await publish(change, UUID(user_id))


async def find_revisions(database: Database[Store]) -> pb.Revisions:
    """Of what is followed, by other processes and by this one. One statement, which needs no transaction."""
    async with database.connection() as connection:
        return await Store(connection).find_revisions()
