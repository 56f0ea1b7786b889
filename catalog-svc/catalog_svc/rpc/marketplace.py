"""The RPCs about the marketplace, which everybody may see."""

import re
from dataclasses import dataclass
from uuid import UUID

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams_common.context import current_caller
from ams_common.interceptors import Context
from ams_common.paging import page_request

from catalog_svc.messages import CATEGORIES_MESSAGE, marketplace_message, type_word
from catalog_svc.rpc.visibility import Visibility
from catalog_svc.store import MarketplaceFilter

_WORD = re.compile(r"\w+")


@dataclass(kw_only=True, eq=False)
class MarketplaceRpcs(Visibility):
    async def ListMarketplaceServices(
        self, request: pb.ListMarketplaceServicesRequest, context: Context
    ) -> pb.ListMarketplaceServicesResponse:
        user_id = current_caller().user_id
        async with self.database.read() as store:
            wanted = MarketplaceFilter(
                # "?!" has no words and finds nothing; only without a query everything is shown.
                words=words_of(request.query) if request.query else None,
                tags=[request.tag] if request.tag else [],
                service_type=type_word(request.type),
                merchant_id=UUID(request.merchant_id) if request.merchant_id else None,
                categories=[request.category] if request.category else [],
                private_ids=await store.list_viewed_services(user_id=user_id) if user_id else [],
            )
            page = await store.list_marketplace(page_request(request), wanted, self.clock())
        return pb.ListMarketplaceServicesResponse(
            services=map(marketplace_message, page.rows), next_page_token=page.next_token
        )

    async def ListCategories(
        self, request: pb.ListCategoriesRequest, context: Context
    ) -> pb.ListCategoriesResponse:
        return CATEGORIES_MESSAGE

    async def GetMarketplaceService(
        self, request: pb.GetMarketplaceServiceRequest, context: Context
    ) -> pb.MarketplaceService:
        return marketplace_message(await self.find_visible(request.service))


def words_of(query: str) -> list[str]:
    """The words in what somebody typed, without anything that means something to to_tsquery()."""
    return _WORD.findall(query)
