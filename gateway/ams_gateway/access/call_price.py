"""What a call is estimated to cost, from its service's price: for the cost headers and spend caps alone.

A price says what a month's quantities cost, and a gateway knows one call. So the estimate is linear and from
above: a unit costs what it does in its dearest tier, a part of a package its part of the package's amount.
What is due once, a tier's flat amount or a monthly fee, is no call's. Whole nanos, rounded up.
"""

import logging
import math
from dataclasses import dataclass
from fractions import Fraction

from ams.catalog.v1.pricing_pb2 import Price
from ams_common.prices import PriceError, price_from_message
from ams_rating.prices import Component, Graduated, Meter, MonthlyFee, Packages, PerUnit, Volume

log = logging.getLogger(__name__)

NANOS_PER_UNIT = 1_000_000_000
_BYTES_PER_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class CallPrice:
    """In nanos of `currency`: for a call, and for a megabyte (10^6 bytes) of its request's and answer's
    bodies. `currency` "" where a price isn't known."""

    currency: str = ""
    request_nanos: int = 0
    request_mb_nanos: int = 0
    response_mb_nanos: int = 0

    @property
    def counts_bytes(self) -> bool:
        return bool(self.request_mb_nanos or self.response_mb_nanos)

    @property
    def least_nanos(self) -> int:
        """What is known before the call. With a price for bytes it is something, since 0 isn't counted."""
        return self.request_nanos or int(self.counts_bytes)

    def nanos(self, request_bytes: int, response_bytes: int) -> int:
        """What a call with such bodies costs, and no less than was known before."""
        of_bytes = request_bytes * self.request_mb_nanos + response_bytes * self.response_mb_nanos
        return max(self.least_nanos, self.request_nanos - -of_bytes // _BYTES_PER_MB)


def call_price(message: Price) -> CallPrice:
    """A price of a later release, which can't be read, is estimated as nothing: billing-svc rates it."""
    try:
        price = price_from_message(message)
    except PriceError as error:
        if message.currency_code:
            log.warning("a price can't be estimated", extra={"problem": str(error)})
        return CallPrice()
    totals: dict[Meter | None, Fraction] = {}
    for component in price.components:
        totals[component.meter] = totals.get(component.meter, Fraction()) + _highest(component)

    def nanos(*meters: Meter) -> int:
        return math.ceil(sum(totals.get(meter, Fraction()) for meter in meters) * NANOS_PER_UNIT)

    return CallPrice(
        currency=price.currency,
        request_nanos=nanos(Meter.REQUESTS),
        request_mb_nanos=nanos(Meter.REQUEST_MEGABYTES, Meter.MEGABYTES),
        response_mb_nanos=nanos(Meter.RESPONSE_MEGABYTES, Meter.MEGABYTES),
    )


def _highest(component: Component) -> Fraction:
    """What a unit of it costs at most, in units of the currency."""
    match component.scheme:
        case PerUnit(amount):
            return Fraction(amount)
        case Packages(size, amount):
            return Fraction(amount) / size
        case Graduated(tiers) | Volume(tiers):
            return Fraction(max(tier.unit_amount for tier in tiers))
        case MonthlyFee():
            return Fraction()
