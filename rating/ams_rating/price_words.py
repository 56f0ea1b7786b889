"""A price in words, one sentence a component, as the marketplace, invoices and mails show it."""

from collections.abc import Iterator
from decimal import Decimal

from ams_rating.currencies import MINOR_UNIT_DIGITS
from ams_rating.price_json import format_amount
from ams_rating.prices import (
    Component,
    Graduated,
    Meter,
    MonthlyFee,
    Packages,
    PerUnit,
    Price,
    Tier,
    Volume,
)

_UNITS = {
    Meter.REQUESTS: ("request", "requests"),
    Meter.REQUEST_MEGABYTES: ("MB of requests", "MB of requests"),
    Meter.RESPONSE_MEGABYTES: ("MB of responses", "MB of responses"),
    Meter.MEGABYTES: ("MB", "MB"),
    Meter.EXECUTIONS: ("execution", "executions"),
}


def describe_price(price: Price) -> list[str]:
    """A sentence for each component; "Free" without any."""
    return [describe(component, price.currency) for component in price.components] or ["Free"]


def describe(component: Component, currency: str) -> str:
    """For example "EUR 0.002 per request", or "Requests: first 1,000 free, then EUR 0.01 each"."""
    one, many = _UNITS[component.meter] if component.meter else ("", "")
    match component.scheme:
        case PerUnit(amount):
            return f"{money(amount, currency)} per {one}"
        case MonthlyFee(amount):
            return f"{money(amount, currency)} per month with use"
        case Packages(size, amount):
            return f"{money(amount, currency)} per {size:,} {many} begun"
        case Graduated(tiers):
            steps = ", then ".join(_graduated(tiers, currency))
            return f"{_capital(many)}: {steps}"
        case Volume(tiers):
            steps = ", ".join(_volume(tiers, currency))
            return f"{_capital(many)}, all at the price of the total: {steps}"


def describe_charge_rule(price: Price) -> list[str]:
    """What isn't charged (PRD-11), a sentence a rule."""
    rule = price.charge_rule
    return [
        "Not charged: answers with 5xx, calls that the upstream didn't answer, and whatever AMS refused.",
        "Not charged: answers with 4xx." if rule.is_client_error_free else "Charged: answers with 4xx.",
        "Not charged: calls that you gave up before the answer began."
        if rule.is_abandoned_free
        else "Charged: calls that you gave up before the answer began.",
    ]


def money(amount: Decimal, currency: str) -> str:
    """With at least the decimals of the currency's minor unit: "EUR 5.00", "EUR 0.002", "JPY 3"."""
    least = MINOR_UNIT_DIGITS.get(currency, 2)
    decimals = max(least, len(format_amount(amount).partition(".")[2]))
    return f"{currency} {amount:,.{decimals}f}"


def _graduated(tiers: tuple[Tier, ...], currency: str) -> Iterator[str]:
    start = 0
    for tier in tiers:
        if tier.up_to is None:
            yield _tier(tier, currency)
        elif start:
            yield f"up to {tier.up_to:,} {_tier(tier, currency)}"
        else:
            yield f"first {tier.up_to:,} {_tier(tier, currency)}"
        start = tier.up_to or start


def _volume(tiers: tuple[Tier, ...], currency: str) -> Iterator[str]:
    start = 0
    for tier in tiers:
        where = f"above {start:,}" if tier.up_to is None else f"up to {tier.up_to:,}"
        yield f"{where} {_tier(tier, currency)}"
        start = tier.up_to or start


def _tier(tier: Tier, currency: str) -> str:
    if not tier.unit_amount and not tier.flat_amount:
        return "free"
    parts = []
    if tier.flat_amount:
        parts.append(f"{money(tier.flat_amount, currency)} once")
    if tier.unit_amount or not parts:
        parts.append(f"{money(tier.unit_amount, currency)} each")
    return " and ".join(parts)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
