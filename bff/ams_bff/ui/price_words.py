"""A price as pages show it: in words, its tiers as tables, and what isn't charged."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from ams.catalog.v1 import pricing_pb2 as pb
from ams_common.prices import PriceError, price_from_message
from ams_rating import prices
from ams_rating.price_words import describe_charge_rule, describe_price

from ams_bff.ui.formats import money_of

_METERS = {
    prices.Meter.REQUESTS: "Requests",
    prices.Meter.REQUEST_MEGABYTES: "MB of request data",
    prices.Meter.RESPONSE_MEGABYTES: "MB of response data",
    prices.Meter.MEGABYTES: "MB of data",
    prices.Meter.EXECUTIONS: "Executions",
}
# What a tier's border means, wherever tiers are typed or shown.
TIER_BORDER = "A tier holds the units above the tier before it, up to and with its own border."
GRADUATED = "Each unit costs what its own tier says."
VOLUME = "All units of a month cost what the tier of the last of them says."


@dataclass(frozen=True, slots=True)
class TierRow:
    """`units`: "1,001 to 10,000"; amounts are in words, "" for a flat amount that there isn't."""

    units: str
    unit_amount: str
    flat_amount: str


@dataclass(frozen=True, slots=True)
class TierTable:
    """The tiers of one component, and how they are read."""

    title: str
    rule: str
    rows: Sequence[TierRow]
    has_flat: bool


def price_lines(message: pb.Price) -> list[str]:
    """A sentence a component, "Free" for a price without any; none where there is no price yet."""
    price = _read(message)
    return describe_price(price) if price else []


def price_short(message: pb.Price) -> str:
    """The price in the line of a list: all of it if it is short."""
    lines = price_lines(message)
    if not lines:
        return "–"
    first = lines[0]
    return f"{first}, and {len(lines) - 1} more" if len(lines) > 1 else first


def charge_rule_lines(message: pb.Price) -> list[str]:
    """What isn't charged, and what is although the answer was an error."""
    price = _read(message)
    return describe_charge_rule(price) if price and price.components else []


def tier_tables(message: pb.Price) -> list[TierTable]:
    """A table for each component that has tiers."""
    price = _read(message)
    if price is None:
        return []
    return [
        _table(component, price.currency)
        for component in price.components
        if isinstance(component.scheme, prices.Graduated | prices.Volume)
    ]


def _read(message: pb.Price) -> prices.Price | None:
    if not message.currency_code:
        return None
    try:
        return price_from_message(message)
    except PriceError:  # stored by a newer release: better nothing than half of it
        return None


def _table(component: prices.Component, currency: str) -> TierTable:
    scheme = component.scheme
    assert isinstance(scheme, prices.Graduated | prices.Volume), "the caller has looked"
    rows, before = [], 0
    for tier in scheme.tiers:
        if tier.up_to is None:
            units = f"above {before:,}" if before else "all"
        else:
            units = f"{before + 1:,} to {tier.up_to:,}"
            before = tier.up_to
        rows.append(TierRow(units, _amount(tier.unit_amount, currency), _flat(tier.flat_amount, currency)))
    return TierTable(
        _METERS[component.meter] if component.meter else "",
        GRADUATED if isinstance(scheme, prices.Graduated) else VOLUME,
        rows,
        any(tier.flat_amount for tier in scheme.tiers),
    )


def _amount(amount: Decimal, currency: str) -> str:
    return money_of(amount, currency) if amount else "free"


def _flat(amount: Decimal, currency: str) -> str:
    return money_of(amount, currency) if amount else "–"
