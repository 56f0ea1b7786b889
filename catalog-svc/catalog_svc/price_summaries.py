"""A price in one figure and a few words, for the marketplace to sort and filter by. Pure."""

from dataclasses import dataclass
from decimal import Decimal

from ams_rating.prices import Component, Graduated, Meter, MonthlyFee, Packages, PerUnit, Price, Volume
from ams_rating.rate import Counts, rate, total_of

# 10,000 calls, or an image's runs, of 2 kB each: what discovery_service.proto and the pages say.
TYPICAL_MONTH = Counts(requests=10_000, request_bytes=10_000_000, response_bytes=10_000_000)

FREE = "free"
PER_REQUEST = "per_request"
PER_MEGABYTE = "per_megabyte"
PER_EXECUTION = "per_execution"
TIERED = "tiered"
PACKAGES = "packages"
MONTHLY_FEE = "monthly_fee"


@dataclass(frozen=True, slots=True)
class PriceSummary:
    """`amount`: what a typical month comes to, in `currency`. `models`: what the price is made of, sorted."""

    currency: str
    amount: Decimal
    models: tuple[str, ...]


def summary_of(price: Price) -> PriceSummary:
    models = {_model(component) for component in price.components} or {FREE}
    return PriceSummary(price.currency, total_of(rate(price, TYPICAL_MONTH)), tuple(sorted(models)))


def _model(component: Component) -> str:
    match component.scheme:
        case MonthlyFee():
            return MONTHLY_FEE
        case Packages():
            return PACKAGES
        case Graduated() | Volume():
            return TIERED
        case PerUnit():
            if component.meter is Meter.REQUESTS:
                return PER_REQUEST
            return PER_EXECUTION if component.meter is Meter.EXECUTIONS else PER_MEGABYTE
