"""RPCs by which admins see merchants and change their standing (PRD FR4-ADMIN-01)."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from ams.identity.v1 import identity_service_pb2 as pb
from ams_common.clock import to_timestamp
from ams_common.errors import NotFoundError
from ams_common.paging import page_request, patterns_of

from identity_svc import roles
from identity_svc.accounts import publish_merchant
from identity_svc.handlers import Context, Handlers
from identity_svc.standing import move


class MerchantHandlers(Handlers):
    async def ListMerchants(
        self, request: pb.ListMerchantsRequest, context: Context
    ) -> pb.ListMerchantsResponse:
        standing, patterns = roles.standing_text(request.standing), patterns_of(request.query)
        async with self._database.read() as connection:
            page = await self._store.list_merchants(connection, page_request(request), standing, patterns)
        return pb.ListMerchantsResponse(
            merchants=map(_merchant_message, page.rows), next_page_token=page.next_token
        )

    async def GetMerchant(self, request: pb.GetMerchantRequest, context: Context) -> pb.Merchant:
        async with self._database.read() as connection:
            row = await self._store.find_merchant(connection, UUID(request.merchant_id))
        if row is None:
            raise NotFoundError(roles.SUSPEND.not_found_code, "There is no such merchant.")
        return _merchant_message(row)

    async def SuspendMerchant(self, request: pb.SuspendMerchantRequest, context: Context) -> pb.Merchant:
        return await self._move_merchant(roles.SUSPEND, UUID(request.merchant_id), request.reason)

    async def ReinstateMerchant(self, request: pb.ReinstateMerchantRequest, context: Context) -> pb.Merchant:
        return await self._move_merchant(roles.REINSTATE, UUID(request.merchant_id), request.reason)

    async def _move_merchant(self, transition: roles.Transition, user_id: UUID, reason: str) -> pb.Merchant:
        async with self._database.change() as change:
            await move(self._store, change, transition, user_id, reason)
            return _merchant_message(await publish_merchant(self._store, change, user_id))


def _merchant_message(row: Mapping[str, Any]) -> pb.Merchant:
    return pb.Merchant(
        merchant_id=str(row["user_id"]),
        email=row["email"],
        name=row["name"],
        company_name=row["company_name"],
        slug=row["slug"],
        standing=roles.standing_of(row["standing"]),
        registered_at=to_timestamp(row["granted_at"]),
    )
