"""All SQL of catalog-svc, by the names of queries.sql."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from ams_common.paging import Page, PageRequest
from ams_common.queries import Queries

from catalog_svc.records import ServiceRecord, record_of


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketplaceFilter:
    """What is looked for. `words` None: no search; an empty list finds nothing. No tags: any."""

    words: Sequence[str] | None
    tags: Sequence[str]
    service_type: str | None
    merchant_id: UUID | None


class Store:
    """Takes the connection of the caller's transaction.

    Whatever changes a service holds its merchant's row in share mode first, and the projection changes
    that row: so a snapshot never tells of a standing that has just become another, and both sides take
    their locks in the same order.
    """

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def lock_merchant(self, connection: asyncpg.Connection, merchant_id: UUID) -> str:
        """Holds the merchant's row, which comes to be when it isn't there; its display name."""
        await self._queries.run(connection, "add_unknown_merchant", merchant_id=merchant_id)
        name: str = await self._queries.value(connection, "lock_merchant", merchant_id=merchant_id)
        return name

    async def insert_service(
        self,
        connection: asyncpg.Connection,
        record: ServiceRecord,
        merchant_name: str,
        slugs: Sequence[str],
    ) -> ServiceRecord | None:
        """The stored service under the first of `slugs` that is free; None when none is."""
        values = _content(record) | {"price_" + k: v for k, v in _price(record).items()}
        for slug in slugs:
            created = await self._queries.one(
                connection,
                "insert_service",
                **values,
                slug=slug,
                merchant_id=record.merchant_id,
                merchant_name=merchant_name,
                type=record.type,
                now=record.created_at,
            )
            if created is not None:
                return await self.find_service(connection, record.service_id)
        return None

    async def lock_service(
        self, connection: asyncpg.Connection, service_id: UUID, owner_id: UUID | None
    ) -> ServiceRecord | None:
        """The service, held for a change; None when there is none that `owner_id` (None: anybody) owns."""
        await self._queries.run(connection, "lock_merchant_of_service", service_id=service_id)
        locked = await self._queries.value(
            connection, "lock_service", service_id=service_id, owner_id=owner_id
        )
        # Read by a statement of its own, for the first may have waited and seen the past.
        return await self.find_service(connection, service_id) if locked is not None else None

    async def save_service(self, connection: asyncpg.Connection, record: ServiceRecord) -> None:
        """Writes all that may change. The price stays on the row until it is a version."""
        price = _price(record) if record.price_version_id is None else dict.fromkeys(_price(record))
        await self._queries.run(
            connection,
            "save_service",
            **_content(record),
            **{"price_" + k: v for k, v in price.items()},
            rejection_reason=record.rejection_reason,
            price_version_id=record.price_version_id,
            published_at=record.published_at,
            updated_at=record.updated_at,
        )

    async def insert_price_version(
        self, connection: asyncpg.Connection, record: ServiceRecord, price_version_id: UUID, now: datetime
    ) -> None:
        """The record's price as a version in force from `now`."""
        await self._queries.run(
            connection,
            "insert_price_version",
            **_price(record),
            price_version_id=price_version_id,
            service_id=record.service_id,
            starts_at=now,
        )

    async def find_service(
        self, connection: asyncpg.Connection, service_id: UUID, owner_id: UUID | None = None
    ) -> ServiceRecord | None:
        """None when there is none that `owner_id` (None: anybody) owns."""
        row = await self._queries.one(connection, "find_service", service_id=service_id, owner_id=owner_id)
        return record_of(row) if row is not None else None

    async def find_service_by_slug(self, connection: asyncpg.Connection, slug: str) -> ServiceRecord | None:
        row = await self._queries.one(connection, "find_service_by_slug", slug=slug)
        return record_of(row) if row is not None else None

    async def list_services(
        self, connection: asyncpg.Connection, wanted: PageRequest, **filters: Any
    ) -> Page[ServiceRecord]:
        """By `status` and `merchant_id` (None: any), and by `patterns` (patterns_of a query)."""
        page = await self._queries.page(connection, "list_services", wanted, **filters)
        return page.map(record_of)

    async def list_marketplace(
        self, connection: asyncpg.Connection, wanted: PageRequest, those: MarketplaceFilter
    ) -> Page[ServiceRecord]:
        """Active services of merchants in good standing."""
        search = {} if those.words is None else {"words": those.words}
        page = await self._queries.page(
            connection,
            "list_marketplace" if those.words is None else "search_marketplace",
            wanted,
            **search,
            tags=those.tags,
            type=those.service_type,
            merchant_id=those.merchant_id,
        )
        return page.map(record_of)

    async def list_active_services(
        self, connection: asyncpg.Connection, merchant_id: UUID, after_id: UUID, limit: int
    ) -> list[ServiceRecord]:
        """The next `limit` by id."""
        rows = await self._queries.many(
            connection, "list_active_services", merchant_id=merchant_id, after_id=after_id, limit=limit
        )
        return [record_of(row) for row in rows]

    async def save_merchant(
        self, connection: asyncpg.Connection, merchant_id: UUID, display_name: str, slug: str, standing: str
    ) -> bool:
        """Whether anything about the merchant is new; its row is held either way."""
        saved = await self._queries.value(
            connection,
            "save_merchant",
            merchant_id=merchant_id,
            display_name=display_name,
            slug=slug,
            standing=standing,
        )
        await self._queries.run(
            connection, "rename_merchant_in_services", merchant_id=merchant_id, merchant_name=display_name
        )
        return saved is not None


def _content(record: ServiceRecord) -> dict[str, object]:
    return {
        "service_id": record.service_id,
        "name": record.name,
        "description": record.description,
        "status": record.status,
        "base_url": record.base_url,
        "documentation_url": record.documentation_url,
        "version": record.version,
        "tags": record.tags,
        "rate_limit_per_minute": record.rate_limit_per_minute,
        "additional_info": record.additional_info,
    }


def _price(record: ServiceRecord) -> dict[str, object]:
    price = record.price
    return {"model": price.model, "currency": price.currency, "amount": price.amount}
