"""The RPCs about the marketplace, which everybody may see."""

import re
from dataclasses import dataclass
from uuid import UUID

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams_common.clock import Clock
from ams_common.database import Database
from ams_common.interceptors import Context
from ams_common.paging import page_request

from catalog_svc.messages import is_in_marketplace, marketplace_message, type_word
from catalog_svc.records import found, service_not_found
from catalog_svc.store import MarketplaceFilter, Store

_WORD = re.compile(r"\w+")


@dataclass(kw_only=True, eq=False)
class MarketplaceRpcs:
    database: Database[Store]
    clock: Clock

    async def ListMarketplaceServices(
        self, request: pb.ListMarketplaceServicesRequest, context: Context
    ) -> pb.ListMarketplaceServicesResponse:
        wanted = MarketplaceFilter(
            # "?!" has no words and finds nothing; only without a query everything is shown.
            words=words_of(request.query) if request.query else None,
            tags=[request.tag] if request.tag else [],
            service_type=type_word(request.type),
            merchant_id=UUID(request.merchant_id) if request.merchant_id else None,
        )
        async with self.database.read() as store:
            page = await store.list_marketplace(page_request(request), wanted, self.clock())
        return pb.ListMarketplaceServicesResponse(
            services=map(marketplace_message, page.rows), next_page_token=page.next_token
        )

    async def GetMarketplaceService(
        self, request: pb.GetMarketplaceServiceRequest, context: Context
    ) -> pb.MarketplaceService:
        async with self.database.read() as store:
            record = found(await store.find_service_by_id_or_slug(request.service, self.clock()))
        if not is_in_marketplace(record):
            raise service_not_found()
        return marketplace_message(record)


def words_of(query: str) -> list[str]:
    """The words in what somebody typed, without anything that means something to to_tsquery()."""
    return _WORD.findall(query)
