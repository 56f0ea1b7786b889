"""The only module that runs SQL: what each query is, queries.sql says."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from ams_common.ids import uuid7
from ams_common.money import MINOR_UNIT_DIGITS
from ams_common.paging import Page, PageRequest
from ams_common.queries import QueryStore, Row, column, many, maybe_value, one, page, run

from billing_svc.commission import CommissionRate
from billing_svc.deltas import CounterKey, Counts
from billing_svc.invoices import Invoice, InvoiceContent, InvoiceKey, InvoiceScope, Line, Usage
from billing_svc.pricing import PriceVersion


def _usage(row: Row) -> Usage:
    price = None
    if row["currency"] is not None:
        price = PriceVersion(row["price_version_id"], row["currency"], row["unit_price"], row["starts_at"])
    return Usage(
        merchant_id=row["merchant_id"],
        consumer_id=row["consumer_id"],
        service_id=row["service_id"],
        price_version_id=row["price_version_id"],
        quantity=row["quantity"],
        service_name=row["service_name"],
        price=price,
    )


def _key(row: Row) -> InvoiceKey:
    return InvoiceKey(row["merchant_id"], row["consumer_id"], row["currency"])


def _invoice(row: Row, lines: Sequence[Line]) -> Invoice:
    content = InvoiceContent(
        key=_key(row),
        lines=tuple(lines),
        subtotal=row["subtotal"],
        commission_rate=row["commission_rate"],
        commission=row["commission"],
        total=row["total"],
    )
    return Invoice(
        invoice_id=row["invoice_id"],
        period=row["period"],
        status=row["status"],
        content=content,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


class Store(QueryStore, package="billing_svc"):
    """The schema `billing`. An invoice is always read with its lines."""

    upsert_service = run()
    add_price_version = maybe_value(UUID)

    claim_deltas = column(UUID)
    purge_deltas = run()
    _add_to_counters = run()
    list_usage = many(row=_usage)
    list_usage_of_consumer = many(row=_usage)
    list_consumers_of_merchant = column(UUID)

    _lock_month = run()
    _lock_month_of_merchant = run()
    _list_drafts = many(dict[str, Any])
    _upsert_drafts = many(dict[str, Any])
    _delete_lines = run()
    _insert_lines = run()
    _list_lines = many(dict[str, Any])
    _find_invoice = many(dict[str, Any])
    _list_invoices = page(dict[str, Any])
    _list_merchant_invoices = page(dict[str, Any])
    _list_consumer_invoices = page(dict[str, Any])

    list_commission_rates = many(CommissionRate)
    add_commission_rate = one(CommissionRate)
    add_first_commission_rate = one(CommissionRate)

    async def add_to_counters(self, sums: Mapping[CounterKey, Counts]) -> None:
        keys, counts = list(sums.keys()), list(sums.values())
        await self._add_to_counters(
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

    async def lock_month(self, period: str, merchant_id: UUID | None) -> None:
        """Wait until nobody else makes the month's invoices of this merchant (None: of any), and keep
        them away until the transaction ends."""
        if merchant_id is None:
            await self._lock_month(period=period)
        else:
            await self._lock_month_of_merchant(period=period, merchant_id=merchant_id)

    async def list_drafts(self, scope: InvoiceScope, limit: int | None = None) -> list[Invoice]:
        """The drafts in scope, ordered by merchant, consumer and currency; `limit` None: all of them."""
        rows = await self._list_drafts(
            period=scope.period,
            merchant_id=scope.merchant_id,
            consumer_ids=scope.consumer_ids,
            limit=limit,
        )
        return await self._with_lines(rows)

    async def save_drafts(self, period: str, contents: Sequence[InvoiceContent]) -> None:
        """Write the drafts anew, each with its lines. What was issued stays as it is."""
        rows = await self._upsert_drafts(
            period=period,
            invoice_ids=[uuid7() for _ in contents],  # only an invoice that is new takes its one
            merchant_ids=[content.key.merchant_id for content in contents],
            consumer_ids=[content.key.consumer_id for content in contents],
            currencies=[content.key.currency for content in contents],
            minor_unit_digits=[MINOR_UNIT_DIGITS[content.key.currency] for content in contents],
            subtotals=[content.subtotal for content in contents],
            commission_rates=[content.commission_rate for content in contents],
            commissions=[content.commission for content in contents],
            totals=[content.total for content in contents],
        )
        # What was issued meanwhile isn't among the rows, and keeps its lines.
        invoice_ids = {_key(row): row["invoice_id"] for row in rows}
        lines = [
            (invoice_ids[content.key], position, line)
            for content in contents
            if content.key in invoice_ids
            for position, line in enumerate(content.lines, start=1)
        ]
        await self._delete_lines(invoice_ids=list(invoice_ids.values()))
        await self._insert_lines(
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
        self, *, invoice_id: UUID, is_admin: bool, merchant_id: UUID | None, consumer_id: UUID | None
    ) -> Invoice | None:
        """One that the caller owns in a role that they hold; the ids of other roles are None."""
        rows = await self._find_invoice(
            invoice_id=invoice_id, is_admin=is_admin, merchant_id=merchant_id, consumer_id=consumer_id
        )
        found = await self._with_lines(rows)
        return found[0] if found else None

    async def list_invoices(
        self, wanted: PageRequest, period: str, merchant_id: UUID | None, consumer_id: UUID | None
    ) -> Page[Invoice]:
        """Anybody's; "" stands for any period, None for any merchant and any consumer."""
        found = await self._list_invoices(
            wanted, period=period, merchant_id=merchant_id, consumer_id=consumer_id
        )
        return Page(await self._with_lines(found.rows), found.next_token)

    async def list_merchant_invoices(
        self, wanted: PageRequest, period: str, merchant_id: UUID
    ) -> Page[Invoice]:
        found = await self._list_merchant_invoices(wanted, period=period, merchant_id=merchant_id)
        return Page(await self._with_lines(found.rows), found.next_token)

    async def list_consumer_invoices(
        self, wanted: PageRequest, period: str, consumer_id: UUID
    ) -> Page[Invoice]:
        found = await self._list_consumer_invoices(wanted, period=period, consumer_id=consumer_id)
        return Page(await self._with_lines(found.rows), found.next_token)

    async def _with_lines(self, rows: Sequence[Row]) -> list[Invoice]:
        # One query for the lines of all invoices, not one for each.
        currencies: dict[UUID, str] = {row["invoice_id"]: row["currency"] for row in rows}
        lines: dict[UUID, list[Line]] = {invoice_id: [] for invoice_id in currencies}
        for row in await self._list_lines(invoice_ids=list(currencies)):
            invoice_id = row.pop("invoice_id")
            lines[invoice_id].append(Line(**row, currency=currencies[invoice_id]))
        return [_invoice(row, lines[row["invoice_id"]]) for row in rows]
