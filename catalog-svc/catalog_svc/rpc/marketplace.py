"""The RPCs about the marketplace, which everybody may see."""

from dataclasses import dataclass
from uuid import UUID

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams_common.interceptors import Context
from ams_common.paging import page_request

from catalog_svc.marketplace_store import MarketplaceStore
from catalog_svc.messages import CATEGORIES_MESSAGE, marketplace_message
from catalog_svc.rpc.visibility import Visibility
from catalog_svc.searches import filter_of


@dataclass(kw_only=True, eq=False)
class MarketplaceRpcs(Visibility):
    async def ListMarketplaceServices(
        self, request: pb.ListMarketplaceServicesRequest, context: Context
    ) -> pb.ListMarketplaceServicesResponse:
        async with self.database.read() as store:
            asked = filter_of(request, await self.viewed_services(store))
            market = MarketplaceStore(store.connection)
            await market.prefer_indexes()
            wanted, now = asked, self.clock()
            page = await market.list_services(page_request(request), wanted, now)
            # What finds anything has no unknown word.
            if not page.rows and (wanted := await market.corrected(asked)) is not asked:
                page = await market.list_services(page_request(request), wanted, now)
        return pb.ListMarketplaceServicesResponse(
            services=map(marketplace_message, page.rows),
            next_page_token=page.next_token,
            corrected_query=" ".join(wanted.words or ()) if wanted is not asked else "",
        )

    async def ListCategories(
        self, request: pb.ListCategoriesRequest, context: Context
    ) -> pb.ListCategoriesResponse:
        return CATEGORIES_MESSAGE

    async def GetMarketplaceService(
        self, request: pb.GetMarketplaceServiceRequest, context: Context
    ) -> pb.MarketplaceService:
        return marketplace_message(await self.find_visible(request.service))

    async def BatchGetMarketplaceServices(
        self, request: pb.BatchGetMarketplaceServicesRequest, context: Context
    ) -> pb.BatchGetMarketplaceServicesResponse:
        records = await self.find_all_visible(list(map(UUID, request.service_ids)))
        return pb.BatchGetMarketplaceServicesResponse(services=map(marketplace_message, records))
