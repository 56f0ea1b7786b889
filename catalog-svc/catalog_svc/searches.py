"""What somebody asks of the marketplace, in the database's words. Pure."""

import re
from collections.abc import Sequence
from uuid import UUID

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import discovery_service_pb2 as discovery_pb

from catalog_svc.marketplace_store import MarketplaceFilter
from catalog_svc.messages import price_model_word, type_word

_WORD = re.compile(r"\w+")


def filter_of(
    request: pb.ListMarketplaceServicesRequest | discovery_pb.GetMarketplaceFacetsRequest,
    private_ids: Sequence[UUID],
) -> MarketplaceFilter:
    model = price_model_word(request.price_model)
    return MarketplaceFilter(
        # "?!" has no words and finds nothing; only without a query everything is shown.
        words=words_of(request.query) if request.query else None,
        tags=[request.tag] if request.tag else [],
        type=type_word(request.type),
        merchant_id=UUID(request.merchant_id) if request.merchant_id else None,
        categories=[request.category] if request.category else [],
        price_models=[model] if model else [],
        currency=request.currency_code or None,
        private_ids=private_ids,
    )


def words_of(query: str) -> list[str]:
    """The words in what somebody typed, without anything that means something to to_tsquery()."""
    return _WORD.findall(query)
