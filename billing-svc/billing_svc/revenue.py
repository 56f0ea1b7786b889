"""What a merchant earns in a month, summed up from the same lines that its invoices are made of."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from billing_svc.commission import commission_of
from billing_svc.invoices import sum_exactly
from billing_svc.rating import RatedLine, totals_by_currency


@dataclass(frozen=True, slots=True)
class ServiceRevenue:
    """What one service brought in, before commission; `quantity` is in charged requests."""

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


def revenue_by_service(lines: Iterable[RatedLine]) -> list[ServiceRevenue]:
    """One per service and currency, by the service's name. `lines` are those of all consumers."""
    by_service: defaultdict[tuple[str, UUID, str], list[RatedLine]] = defaultdict(list)
    for line in lines:
        by_service[line.service_name, line.key.service_id, line.currency].append(line)
    return [
        ServiceRevenue(
            service_id,
            name,
            currency,
            # A group's components have the same calls: its first line stands for it.
            sum(line.counts.requests for line in of_service if line.key.component == 0),
            sum_exactly(line.rated_amount for line in of_service),
        )
        for (name, service_id, currency), of_service in sorted(by_service.items(), key=lambda item: item[0])
    ]


def revenue_totals(by_consumer: Mapping[UUID, Iterable[RatedLine]], rate: Decimal) -> list[RevenueTotal]:
    """One per currency, in the order of their codes. Commission is taken, and rounded, of each consumer's
    invoice."""
    gross: defaultdict[str, list[Decimal]] = defaultdict(list)
    for lines in by_consumer.values():
        for currency, subtotal in totals_by_currency(lines).items():
            gross[currency].append(subtotal)
    return [
        _total(currency, subtotals, [commission_of(subtotal, rate, currency) for subtotal in subtotals])
        for currency, subtotals in sorted(gross.items())
    ]


def _total(currency: str, subtotals: list[Decimal], commissions: list[Decimal]) -> RevenueTotal:
    gross, commission = sum_exactly(subtotals), sum_exactly(commissions)
    return RevenueTotal(currency, gross, commission, sum_exactly((gross, -commission)))
