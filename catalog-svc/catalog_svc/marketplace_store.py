"""The SQL of marketplace.sql: what everybody finds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from ams_common.paging import Page, PageRequest
from ams_common.queries import QueryStore, column, many, maybe_value, page, run, value

from catalog_svc.records import ServiceRecord, record_of

# So many services are counted for a facet's figures at most.
MOST_COUNTED = 1_000
MOST_RELATED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketplaceFilter:
    """What is looked for, in the database's words. `words` None: no search; an empty list finds nothing. No
    tags, categories or price_models: any. `private_ids`: the private services that may be found."""

    words: Sequence[str] | None = None
    tags: Sequence[str] = ()
    type: str | None = None
    merchant_id: UUID | None = None
    categories: Sequence[str] = ()
    price_models: Sequence[str] = ()
    currency: str | None = None
    private_ids: Sequence[UUID] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetCount:
    """How many services have this value of the facet; of the facet "total" how many there are."""

    facet: str
    value: str
    label: str
    count: int


class MarketplaceStore(QueryStore, package="catalog_svc", file="marketplace.sql"):
    """Of the active services of merchants in good standing, which are public or among `private_ids`."""

    # Of so many matches at most the relevance is worked out, and so many are sorted by anything else; where
    # more fit, they are found along that order.
    most_ranked: ClassVar[int] = 500
    most_sorted: ClassVar[int] = 2_000

    prefer_indexes = run()
    _list_marketplace = page(row=record_of)
    _rank_matches = page(row=record_of)
    _sort_matches = page(row=record_of)
    _count_matches = value(int)
    _list_unknown_words = column(str)
    _find_similar_word = maybe_value(str)
    _count_facets = many(FacetCount)
    _list_related_services = many(row=record_of)

    async def list_services(
        self, wanted: PageRequest, those: MarketplaceFilter, now: datetime
    ) -> Page[ServiceRecord]:
        fields = asdict(those)
        if those.words is None:
            return await self._list_marketplace(wanted, **fields, now=now)
        # Who asks for what neither of the two has is told the orders of both.
        orders = self.queries.orders("rank_matches") | self.queries.orders("sort_matches")
        if orders.choose(wanted.order_by).name == "relevance":
            return await self._rank_matches(wanted, **fields, now=now, most=self.most_ranked)
        if await self._count_matches(**fields, most=self.most_sorted) == self.most_sorted:
            return await self._list_marketplace(wanted, **fields, now=now)
        return await self._sort_matches(wanted, **fields, now=now, most=self.most_sorted)

    async def corrected(self, those: MarketplaceFilter) -> MarketplaceFilter:
        """The same filter with the most similar word in place of each that is found nowhere; as it is where
        there is none. Other filters don't matter: a word that is known finds nothing among them, rather than
        something else."""
        words = [word.lower() for word in those.words or ()]
        if not words:
            return those
        unknown = await self._list_unknown_words(words=words, private_ids=those.private_ids)
        similar = {
            word: await self._find_similar_word(word=word, private_ids=those.private_ids) for word in unknown
        }
        if not any(similar.values()):
            return those
        return replace(those, words=[similar.get(word) or word for word in words])

    async def count_facets(self, those: MarketplaceFilter) -> list[FacetCount]:
        """Of each facet the most frequent values first."""
        return await self._count_facets(**asdict(those), most=MOST_COUNTED)

    async def list_related_services(
        self, record: ServiceRecord, private_ids: Sequence[UUID], now: datetime
    ) -> list[ServiceRecord]:
        """The most alike first."""
        return await self._list_related_services(
            service_id=record.service_id,
            merchant_id=record.merchant_id,
            categories=record.metadata.categories,
            tags=record.tags,
            private_ids=private_ids,
            now=now,
            limit=MOST_RELATED,
        )
