"""RPCs by which admins see consumers and change their standing (PRD FR4-ADMIN-02)."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from ams.identity.v1 import identity_service_pb2 as pb
from ams_common.clock import to_timestamp
from ams_common.errors import NotFoundError
from ams_common.paging import page_request, patterns_of

from identity_svc import roles
from identity_svc.accounts import publish_consumer
from identity_svc.handlers import Context, Handlers
from identity_svc.standing import move


class ConsumerHandlers(Handlers):
    async def ListConsumers(
        self, request: pb.ListConsumersRequest, context: Context
    ) -> pb.ListConsumersResponse:
        standing, patterns = roles.standing_text(request.standing), patterns_of(request.query)
        async with self._database.read() as connection:
            page = await self._store.list_consumers(connection, page_request(request), standing, patterns)
        return pb.ListConsumersResponse(
            consumers=map(_consumer_message, page.rows), next_page_token=page.next_token
        )

    async def GetConsumer(self, request: pb.GetConsumerRequest, context: Context) -> pb.Consumer:
        async with self._database.read() as connection:
            row = await self._store.find_consumer(connection, UUID(request.consumer_id))
        if row is None:
            raise NotFoundError(roles.BLOCK.not_found_code, "There is no such consumer.")
        return _consumer_message(row)

    async def BlockConsumer(self, request: pb.BlockConsumerRequest, context: Context) -> pb.Consumer:
        return await self._move_consumer(roles.BLOCK, UUID(request.consumer_id), request.reason)

    async def UnblockConsumer(self, request: pb.UnblockConsumerRequest, context: Context) -> pb.Consumer:
        return await self._move_consumer(roles.UNBLOCK, UUID(request.consumer_id), request.reason)

    async def _move_consumer(self, transition: roles.Transition, user_id: UUID, reason: str) -> pb.Consumer:
        async with self._database.change() as change:
            await move(self._store, change, transition, user_id, reason)
            return _consumer_message(await publish_consumer(self._store, change, user_id))


def _consumer_message(row: Mapping[str, Any]) -> pb.Consumer:
    return pb.Consumer(
        consumer_id=str(row["user_id"]),
        email=row["email"],
        name=row["name"],
        standing=roles.standing_of(row["standing"]),
        registered_at=to_timestamp(row["granted_at"]),
    )
