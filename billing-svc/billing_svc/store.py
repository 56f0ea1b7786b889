"""The only module that runs SQL: billing's tables as the rules' objects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
from ams_common.paging import Page, PageRequest
from ams_common.queries import Queries

from billing_svc.commission import CommissionRate
from billing_svc.counters import CounterKey, Counts
from billing_svc.invoices import Draft, Invoice, Line, Usage
from billing_svc.pricing import PriceVersion
from billing_svc.rows import columns_of, invoice_of, key_of, line_of, rate_of, usage_of


@dataclass(frozen=True, slots=True)
class Scope:
    """Which invoices of a month are meant. None: all merchants, all consumers; no consumer in the list:
    none at all."""

    period: str
    merchant_id: UUID | None
    consumer_ids: Sequence[UUID] | None


@dataclass(frozen=True, slots=True)
class Ownership:
    """In which of their roles a caller may own an invoice; None for a role they don't hold."""

    is_admin: bool
    merchant_id: UUID | None
    consumer_id: UUID | None


class Store:
    """Methods bear the names of their queries. Each runs on the caller's transaction."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    # Projections and counters

    async def upsert_service(
        self,
        connection: asyncpg.Connection,
        *,
        service_id: UUID,
        merchant_id: UUID,
        name: str,
        changed_at: datetime,
    ) -> None:
        """A state older than the known one changes nothing."""
        await self._queries.run(
            connection,
            "upsert_service",
            service_id=service_id,
            merchant_id=merchant_id,
            name=name,
            changed_at=changed_at,
        )

    async def add_price_version(
        self, connection: asyncpg.Connection, service_id: UUID, version: PriceVersion
    ) -> bool:
        """False when this version is known with another price; the known one stays."""
        row = await self._queries.one(
            connection,
            "add_price_version",
            price_version_id=version.price_version_id,
            service_id=service_id,
            model="per_request",
            currency=version.currency,
            amount=version.unit_price,
            starts_at=version.starts_at,
        )
        return row is not None

    async def claim_deltas(self, connection: asyncpg.Connection, delta_ids: Sequence[UUID]) -> list[UUID]:
        """Those that were never applied; from here on they were."""
        rows = await self._queries.many(connection, "claim_deltas", delta_ids=delta_ids)
        return [row["delta_id"] for row in rows]

    async def forget_deltas(
        self, connection: asyncpg.Connection, first_kept: UUID, oldest: datetime, limit: int
    ) -> int:
        """Delete up to `limit` that were made before `first_kept` and applied before `oldest`; how many."""
        return await self._queries.run(
            connection, "forget_deltas", first_kept=first_kept, oldest=oldest, limit=limit
        )

    async def add_to_counters(
        self, connection: asyncpg.Connection, sums: Mapping[CounterKey, Counts]
    ) -> None:
        keys, counts = list(sums.keys()), list(sums.values())
        await self._queries.run(
            connection,
            "add_to_counters",
            periods=[key.period for key in keys],
            merchant_ids=[key.merchant_id for key in keys],
            consumer_ids=[key.consumer_id for key in keys],
            service_ids=[key.service_id for key in keys],
            price_version_ids=[key.price_version_id for key in keys],
            requests=[count.requests for count in counts],
            billable_requests=[count.billable_requests for count in counts],
            request_bytes=[count.request_bytes for count in counts],
            response_bytes=[count.response_bytes for count in counts],
        )

    async def list_usage(self, connection: asyncpg.Connection, scope: Scope) -> list[Usage]:
        rows = await self._queries.many(
            connection,
            "list_usage",
            period=scope.period,
            merchant_id=scope.merchant_id,
            consumer_ids=scope.consumer_ids,
        )
        return [usage_of(row) for row in rows]

    async def list_usage_of_consumer(
        self, connection: asyncpg.Connection, consumer_id: UUID, period: str
    ) -> list[Usage]:
        rows = await self._queries.many(
            connection, "list_usage_of_consumer", consumer_id=consumer_id, period=period
        )
        return [usage_of(row) for row in rows]

    async def list_consumers_of_merchant(
        self, connection: asyncpg.Connection, merchant_id: UUID, period: str
    ) -> list[UUID]:
        """Who used something of this merchant in the month."""
        rows = await self._queries.many(
            connection, "list_consumers_of_merchant", merchant_id=merchant_id, period=period
        )
        return [row["consumer_id"] for row in rows]

    # Invoices

    async def lock_month(self, connection: asyncpg.Connection, period: str, merchant_id: UUID | None) -> None:
        """Wait until nobody else makes the month's invoices of this merchant (None: of any), and keep
        them away until the transaction ends."""
        if merchant_id is None:
            await self._queries.run(connection, "lock_month", period=period)
        else:
            await self._queries.run(
                connection, "lock_month_of_merchant", period=period, merchant_id=merchant_id
            )

    async def list_drafts(
        self, connection: asyncpg.Connection, scope: Scope, limit: int | None = None
    ) -> list[Invoice]:
        """By merchant, consumer and currency; `limit` None: all."""
        rows = await self._queries.many(
            connection,
            "list_drafts",
            period=scope.period,
            merchant_id=scope.merchant_id,
            consumer_ids=scope.consumer_ids,
            limit=limit,
        )
        return await self._with_lines(connection, rows)

    async def save_drafts(self, connection: asyncpg.Connection, period: str, drafts: Sequence[Draft]) -> None:
        """Write the drafts anew, each with its lines. What was issued stays as it is."""
        rows = await self._queries.many(connection, "upsert_drafts", period=period, **columns_of(drafts))
        invoice_ids = {key_of(row): row["invoice_id"] for row in rows}
        lines = [
            (invoice_ids[draft.key], position, line)
            for draft in drafts
            if draft.key in invoice_ids
            for position, line in enumerate(draft.lines, start=1)
        ]
        await self._queries.run(connection, "delete_lines", invoice_ids=list(invoice_ids.values()))
        await self._queries.run(
            connection,
            "insert_lines",
            invoice_ids=[invoice_id for invoice_id, _, _ in lines],
            positions=[position for _, position, _ in lines],
            service_ids=[line.service_id for _, _, line in lines],
            service_names=[line.service_name for _, _, line in lines],
            price_version_ids=[line.price_version_id for _, _, line in lines],
            quantities=[line.quantity for _, _, line in lines],
            unit_prices=[line.unit_price for _, _, line in lines],
            amounts=[line.amount for _, _, line in lines],
        )

    async def find_invoice(
        self, connection: asyncpg.Connection, invoice_id: UUID, owner: Ownership
    ) -> Invoice | None:
        """None also for somebody else's."""
        rows = await self._queries.many(
            connection,
            "find_invoice",
            invoice_id=invoice_id,
            is_admin=owner.is_admin,
            merchant_id=owner.merchant_id,
            consumer_id=owner.consumer_id,
        )
        found = await self._with_lines(connection, rows)
        return found[0] if found else None

    async def list_invoices(
        self, connection: asyncpg.Connection, wanted: PageRequest, **filters: object
    ) -> Page[Invoice]:
        """Anybody's, by `period` ("": any), `merchant_id` and `consumer_id` (None: any)."""
        return await self._list(connection, "list_invoices", wanted, filters)

    async def list_merchant_invoices(
        self, connection: asyncpg.Connection, wanted: PageRequest, **filters: object
    ) -> Page[Invoice]:
        """By `period` ("": any) and `merchant_id`."""
        return await self._list(connection, "list_merchant_invoices", wanted, filters)

    async def list_consumer_invoices(
        self, connection: asyncpg.Connection, wanted: PageRequest, **filters: object
    ) -> Page[Invoice]:
        """By `period` ("": any) and `consumer_id`."""
        return await self._list(connection, "list_consumer_invoices", wanted, filters)

    async def _list(
        self, connection: asyncpg.Connection, name: str, wanted: PageRequest, filters: Mapping[str, object]
    ) -> Page[Invoice]:
        page = await self._queries.page(connection, name, wanted, **filters)
        return Page(await self._with_lines(connection, page.rows), page.next_token)

    async def _with_lines(
        self, connection: asyncpg.Connection, rows: Sequence[Mapping[str, Any]]
    ) -> list[Invoice]:
        currencies: dict[UUID, str] = {row["invoice_id"]: row["currency"] for row in rows}
        lines: dict[UUID, list[Line]] = {invoice_id: [] for invoice_id in currencies}
        for row in await self._queries.many(connection, "list_lines", invoice_ids=list(currencies)):
            lines[row["invoice_id"]].append(line_of(row, currencies[row["invoice_id"]]))
        return [invoice_of(row, tuple(lines[row["invoice_id"]])) for row in rows]

    # Commission rates

    async def list_commission_rates(self, connection: asyncpg.Connection) -> list[CommissionRate]:
        """The whole history, the newest first."""
        return [rate_of(row) for row in await self._queries.many(connection, "list_commission_rates")]

    async def add_commission_rate(
        self, connection: asyncpg.Connection, rate: Decimal, starts_in: str
    ) -> CommissionRate | None:
        """None when the month has one already."""
        row = await self._queries.one(connection, "add_commission_rate", rate=rate, starts_in=starts_in)
        return rate_of(row) if row is not None else None

    async def add_first_commission_rate(
        self, connection: asyncpg.Connection, rate: Decimal, starts_in: str
    ) -> CommissionRate | None:
        """None when there is any rate already."""
        row = await self._queries.one(connection, "add_first_commission_rate", rate=rate, starts_in=starts_in)
        return rate_of(row) if row is not None else None
