"""What usage would have cost at another price. Pure."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from uuid import UUID

from ams_rating.charging import ChargeClass, is_charged
from ams_rating.price_words import describe_price
from ams_rating.prices import Price
from ams_rating.rate import Counts, exact_arithmetic

from billing_svc.rating import ZERO, PriceVersion, RatedLine, Usage, rate_usage, totals_by_currency

# The price that is asked about has no version.
NO_VERSION = UUID(int=0)
GREATEST_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Quantities:
    """A month's calls by how they ended, and the bytes and executions of all of them."""

    served: int
    client_errors: int
    abandoned: int
    request_bytes: int
    response_bytes: int
    executions: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What a price makes of usage, in lines as they would stand on an invoice."""

    currency: str
    lines: tuple[RatedLine, ...]
    total: Decimal
    descriptions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SimulatedConsumer:
    """What a consumer's usage came to, and what it would have. `actual_currency` is "" where nothing could be
    rated."""

    consumer_id: UUID
    actual: Decimal
    actual_currency: str
    simulated: Decimal
    requests: int

    @property
    def change(self) -> Decimal:
        with exact_arithmetic():
            return self.simulated - self.actual


class SeveralCurrenciesError(ValueError):
    """The service had prices in several currencies in the month: there is no one sum to compare with."""


@dataclass(slots=True)
class Simulation:
    """Sums of consumers; holds those with the greatest change alone, however many come."""

    currency: str
    actual: Decimal = ZERO
    actual_currency: str = ""
    simulated: Decimal = ZERO
    consumers: int = 0
    paying_more: int = 0
    paying_less: int = 0
    _greatest: list[tuple[Decimal, int, SimulatedConsumer]] = field(default_factory=list)

    def add(self, consumer: SimulatedConsumer) -> None:
        """Raises SeveralCurrenciesError."""
        if consumer.actual_currency:
            if self.actual_currency not in ("", consumer.actual_currency):
                raise SeveralCurrenciesError
            self.actual_currency = consumer.actual_currency
        with exact_arithmetic():
            self.actual += consumer.actual
            self.simulated += consumer.simulated
        self.consumers += 1
        # Amounts of two currencies are neither more nor less.
        if consumer.actual_currency in ("", self.currency):
            self.paying_more += consumer.change > 0
            self.paying_less += consumer.change < 0
        # Of equal changes the first one stays: the order of consumers is that of their ids.
        entry = (abs(consumer.change), -self.consumers, consumer)
        if len(self._greatest) < GREATEST_SHOWN:
            heapq.heappush(self._greatest, entry)
        else:
            heapq.heappushpop(self._greatest, entry)

    def greatest(self) -> list[SimulatedConsumer]:
        """Those with the greatest change, the greatest first."""
        return [consumer for _, _, consumer in sorted(self._greatest, reverse=True)]


def usage_of(quantities: Quantities, price: Price) -> Mapping[ChargeClass, Counts]:
    """As counters would have it. Bytes aren't told apart by how calls ended: of them what is charged has the
    share of the charged calls, rounded down."""
    calls = {
        # An API has calls, and an image runs: a service has one or the other.
        ChargeClass.SERVED: quantities.served + quantities.executions,
        ChargeClass.CLIENT_ERROR: quantities.client_errors,
        ChargeClass.ABANDONED: quantities.abandoned,
    }
    charged = sum(count for kind, count in calls.items() if is_charged(price.charge_rule, kind))
    total = sum(calls.values())
    part, whole = (charged, total) if total else (1, 1)
    counts = Counts(
        charged, quantities.request_bytes * part // whole, quantities.response_bytes * part // whole
    )
    return {ChargeClass.SERVED: counts}


def preview(price: Price, usage: Usage) -> Preview:
    """What a month's usage comes to under `price`, whichever it had."""
    priced = replace(usage, version=PriceVersion(NO_VERSION, price))
    lines = rate_usage([priced]).lines
    total = totals_by_currency(lines).get(price.currency, ZERO)
    return Preview(price.currency, lines, total, tuple(describe_price(price)))


def simulate(price: Price, consumer_id: UUID, usages: Sequence[Usage]) -> SimulatedConsumer:
    """A consumer's usage of a service in a month, as it was rated and under `price`.

    Raises SeveralCurrenciesError.
    """
    totals = totals_by_currency(rate_usage(usages).lines)
    if len(totals) > 1:
        raise SeveralCurrenciesError
    currency, actual = next(iter(totals.items()), ("", ZERO))
    return SimulatedConsumer(
        consumer_id=consumer_id,
        actual=actual,
        actual_currency=currency,
        simulated=preview(price, merged(usages)).total,
        requests=sum(counts.requests for usage in usages for counts in usage.counts.values()),
    )


def merged(usages: Sequence[Usage]) -> Usage:
    """All of a service's usage, as of one price version; there is some."""
    counts: dict[ChargeClass, Counts] = {}
    for usage in usages:
        for kind, more in usage.counts.items():
            counts[kind] = counts.get(kind, Counts()).plus(more)
    return replace(
        usages[0],
        first_day=min(usage.first_day for usage in usages),
        last_day=max(usage.last_day for usage in usages),
        counts=counts,
    )


def by_consumer(usages: Iterable[Usage]) -> dict[UUID, list[Usage]]:
    """In the order of their ids."""
    found: defaultdict[UUID, list[Usage]] = defaultdict(list)
    for usage in usages:
        found[usage.consumer_id].append(usage)
    return dict(sorted(found.items()))
