"""Rows of the tables as the rules' objects, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
from ams_common.ids import uuid7
from ams_common.money import MINOR_UNIT_DIGITS

from billing_svc.commission import CommissionRate
from billing_svc.invoices import Draft, Invoice, InvoiceKey, Line, Usage
from billing_svc.pricing import PriceVersion


def columns_of(drafts: Sequence[Draft]) -> dict[str, list[object]]:
    """A list per column, for unnest(); an id for each, which only a new invoice takes."""
    return {
        "invoice_ids": [uuid7() for _ in drafts],
        "merchant_ids": [draft.key.merchant_id for draft in drafts],
        "consumer_ids": [draft.key.consumer_id for draft in drafts],
        "currencies": [draft.key.currency for draft in drafts],
        "minor_unit_digits": [MINOR_UNIT_DIGITS[draft.key.currency] for draft in drafts],
        "subtotals": [draft.subtotal for draft in drafts],
        "commission_rates": [draft.commission_rate for draft in drafts],
        "commissions": [draft.commission for draft in drafts],
        "totals": [draft.total for draft in drafts],
    }


def usage_of(row: asyncpg.Record) -> Usage:
    """A counter with its service's name and price, as far as they are known."""
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


def line_of(row: asyncpg.Record, currency: str) -> Line:
    return Line(
        service_id=row["service_id"],
        service_name=row["service_name"],
        price_version_id=row["price_version_id"],
        quantity=row["quantity"],
        unit_price=row["unit_price"],
        currency=currency,
        amount=row["amount"],
    )


def key_of(row: Mapping[str, Any]) -> InvoiceKey:
    return InvoiceKey(row["merchant_id"], row["consumer_id"], row["currency"])


def invoice_of(row: Mapping[str, Any], lines: tuple[Line, ...]) -> Invoice:
    content = Draft(
        key=key_of(row),
        lines=lines,
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


def rate_of(row: asyncpg.Record) -> CommissionRate:
    return CommissionRate(row["rate"], row["starts_in"], row["created_at"])
