"""What a merchant earns, summed up from the contents of its draft invoices: the two can't differ."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from billing_svc.invoices import InvoiceContent, Line
from billing_svc.pricing import sum_exactly


@dataclass(frozen=True, slots=True)
class ServiceRevenue:
    """What one service brought in, before commission; `quantity` is in billable requests."""

    service_id: UUID
    service_name: str
    currency: str
    quantity: int
    gross: Decimal


@dataclass(frozen=True, slots=True)
class RevenueTotal:
    """What a merchant's services brought in, in one currency: gross − commission = net, exactly."""

    currency: str
    gross: Decimal
    commission: Decimal
    net: Decimal


def revenue_by_service(contents: Iterable[InvoiceContent]) -> list[ServiceRevenue]:
    """One per service and currency, by the service's name."""
    lines: defaultdict[tuple[str, UUID, str], list[Line]] = defaultdict(list)
    for content in contents:
        for line in content.lines:
            lines[(line.service_name, line.service_id, line.currency)].append(line)
    return [
        ServiceRevenue(
            service_id,
            name,
            currency,
            sum(line.quantity for line in of_service),
            sum_exactly(line.amount for line in of_service),
        )
        for (name, service_id, currency), of_service in sorted(lines.items(), key=lambda item: item[0])
    ]


def revenue_totals(contents: Sequence[InvoiceContent]) -> list[RevenueTotal]:
    """One per currency, in the order of their codes."""
    return [
        _total(currency, [content for content in contents if content.key.currency == currency])
        for currency in sorted({content.key.currency for content in contents})
    ]


def _total(currency: str, contents: Sequence[InvoiceContent]) -> RevenueTotal:
    return RevenueTotal(
        currency,
        sum_exactly(content.subtotal for content in contents),
        sum_exactly(content.commission for content in contents),
        sum_exactly(content.total for content in contents),
    )
