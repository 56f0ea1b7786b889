"""Invoices as they are worked out: from what was used, at which price, to lines, commission and total.

A pure function of its arguments: the order in which usage is given changes nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from ams_common.errors import FailedPreconditionError

from billing_svc.commission import commission_of, total_of
from billing_svc.pricing import PriceVersion, line_amount, sum_exactly


@dataclass(frozen=True, slots=True)
class Usage:
    """A billing counter and what is known of its service and price; None while their events are on
    the way. `quantity` is in billable requests."""

    merchant_id: UUID
    consumer_id: UUID
    service_id: UUID
    price_version_id: UUID
    quantity: int
    service_name: str | None
    price: PriceVersion | None


@dataclass(frozen=True, slots=True)
class Line:
    """`amount` is quantity × unit_price at the currency's minor unit."""

    service_id: UUID
    service_name: str
    price_version_id: UUID
    quantity: int
    unit_price: Decimal
    currency: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class InvoiceKey:
    """What tells a month's invoices apart: there is at most one per month and key."""

    merchant_id: UUID
    consumer_id: UUID
    currency: str


@dataclass(frozen=True, slots=True)
class InvoiceContent:
    """What an invoice says, as a draft and once issued: subtotal = sum of the lines, subtotal − commission
    = total, exactly."""

    key: InvoiceKey
    lines: tuple[Line, ...]
    subtotal: Decimal
    commission_rate: Decimal
    commission: Decimal
    total: Decimal


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice as it is stored; `period` is a month, `status` the database's word."""

    invoice_id: UUID
    period: str
    status: str
    content: InvoiceContent
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class InvoiceScope:
    """Which invoices of a month are meant. None: all merchants, all consumers; no consumer in the list:
    none at all."""

    period: str
    merchant_id: UUID | None
    consumer_ids: Sequence[UUID] | None


def draft_invoices(usages: Iterable[Usage], commission_rate: Decimal) -> list[InvoiceContent]:
    """One draft per merchant, consumer and currency, in that order. Without usage there is none.

    Raises FailedPreconditionError price_unknown or service_unknown: nothing is left off a bill.
    """
    by_key: defaultdict[InvoiceKey, list[Usage]] = defaultdict(list)
    for usage in usages:
        # Where nothing is billable nothing is priced, so its price needn't have arrived.
        if usage.quantity > 0:
            currency = _price_of(usage).currency
            by_key[InvoiceKey(usage.merchant_id, usage.consumer_id, currency)].append(usage)
    keys = sorted(by_key, key=lambda key: (key.merchant_id, key.consumer_id, key.currency))
    return [_draft(key, draft_lines(by_key[key]), commission_rate) for key in keys]


def draft_lines(usages: Iterable[Usage]) -> tuple[Line, ...]:
    """One line per service and price version, by the service's name and the price's start.

    Raises FailedPreconditionError as draft_invoices() does.
    """
    return tuple(_line(usage) for usage in sorted(usages, key=_line_order) if usage.quantity > 0)


def totals_by_currency(lines: Sequence[Line]) -> Mapping[str, Decimal]:
    """The sum of the lines of each currency, in the order of their codes."""
    currencies = sorted({line.currency for line in lines})
    return {
        currency: sum_exactly(line.amount for line in lines if line.currency == currency)
        for currency in currencies
    }


def _draft(key: InvoiceKey, lines: tuple[Line, ...], commission_rate: Decimal) -> InvoiceContent:
    subtotal = sum_exactly(line.amount for line in lines)
    commission = commission_of(subtotal, commission_rate, key.currency)
    return InvoiceContent(key, lines, subtotal, commission_rate, commission, total_of(subtotal, commission))


def _line(usage: Usage) -> Line:
    price = _price_of(usage)
    return Line(
        service_id=usage.service_id,
        service_name=_name_of(usage),
        price_version_id=usage.price_version_id,
        quantity=usage.quantity,
        unit_price=price.unit_price,
        currency=price.currency,
        amount=line_amount(usage.quantity, price.unit_price, price.currency),
    )


def _line_order(usage: Usage) -> tuple[str, UUID, datetime, UUID]:
    # Two services may have one name, and two prices one start: the ids make the order the same every time.
    starts_at = _price_of(usage).starts_at
    return (_name_of(usage), usage.service_id, starts_at, usage.price_version_id)


def _price_of(usage: Usage) -> PriceVersion:
    if usage.price is None:
        raise FailedPreconditionError(
            "price_unknown",
            "The price of some usage has not arrived yet. Try again shortly.",
            service_id=str(usage.service_id),
            price_version_id=str(usage.price_version_id),
        )
    return usage.price


def _name_of(usage: Usage) -> str:
    if usage.service_name is None:
        raise FailedPreconditionError(
            "service_unknown",
            "A service that was used has not arrived yet. Try again shortly.",
            service_id=str(usage.service_id),
        )
    return usage.service_name
