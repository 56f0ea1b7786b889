"""DiscoveryService: what helps to choose among the services of the marketplace."""

from dataclasses import dataclass

from ams.catalog.v1 import discovery_service_pb2 as pb
from ams.catalog.v1 import discovery_service_pb2_grpc as rpc
from ams_common.interceptors import Context

from catalog_svc.marketplace_store import MarketplaceStore
from catalog_svc.messages import facets_message, marketplace_message
from catalog_svc.rpc.visibility import Visibility
from catalog_svc.searches import filter_of


@dataclass(kw_only=True, eq=False)
class DiscoveryService(Visibility, rpc.DiscoveryServiceServicer):
    async def GetMarketplaceFacets(
        self, request: pb.GetMarketplaceFacetsRequest, context: Context
    ) -> pb.MarketplaceFacets:
        async with self.database.read() as store:
            asked = filter_of(request, await self.viewed_services(store))
            market = MarketplaceStore(store.connection)
            await market.prefer_indexes()
            message = facets_message(await market.count_facets(asked))
            # What finds anything has no unknown word.
            if not message.total and (wanted := await market.corrected(asked)) is not asked:
                message = facets_message(await market.count_facets(wanted))
        return message

    async def ListRelatedServices(
        self, request: pb.ListRelatedServicesRequest, context: Context
    ) -> pb.ListRelatedServicesResponse:
        record = await self.find_visible(request.service)
        async with self.database.read() as store:
            viewed = await self.viewed_services(store)
            market = MarketplaceStore(store.connection)
            await market.prefer_indexes()
            related = await market.list_related_services(record, viewed, self.clock())
        return pb.ListRelatedServicesResponse(services=map(marketplace_message, related))
