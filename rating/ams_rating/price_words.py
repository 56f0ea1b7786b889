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
    Meter.REQUEST_MEGABYTES: ("MB of request data", "MB of request data"),
    Meter.RESPONSE_MEGABYTES: ("MB of response data", "MB of response data"),
    Meter.MEGABYTES: ("MB of data", "MB of data"),
    Meter.EXECUTIONS: ("execution", "executions"),
}


def describe_price(price: Price) -> list[str]:
    """A sentence for each component; "Free" without any."""
    return [describe(component, price.currency) for component in price.components] or ["Free"]


def describe(component: Component, currency: str) -> str:
    """For example "EUR 0.002 per request", or "Requests: the first 1,000 free, then EUR 0.01 each"."""
    one, many = _UNITS[component.meter] if component.meter else ("", "")
    match component.scheme:
        case PerUnit(amount):
            return f"{money(amount, currency)} per {one}" if amount else f"{_capital(many)}: free"
        case MonthlyFee(amount):
            return f"{money(amount, currency)} for each month with use"
        case Packages(1, amount):
            return f"{money(amount, currency)} for each {one}, or part of one"
        case Packages(size, amount):
            return f"{money(amount, currency)} for each {size:,} {many}, or part of them"
        case Volume(tiers) if len(tiers) > 1:
            return f"All {many} of a month at one price: {', '.join(_volume(tiers, currency))}"
        case Graduated(tiers) | Volume(tiers):
            return f"{_capital(many)}: {', then '.join(_graduated(tiers, currency))}"


def describe_charge_rule(price: Price) -> list[str]:
    """What isn't charged (PRD-11), a sentence a rule."""
    rule = price.charge_rule
    return [
        "Not charged: answers with 5xx, calls that the upstream didn't answer, and whatever AMS refused.",
        "Not charged: answers with 4xx." if rule.is_client_error_free else "Charged: answers with 4xx.",
        "Not charged: calls that the caller gave up before the answer began."
        if rule.is_abandoned_free
        else "Charged: calls that the caller gave up before the answer began.",
    ]


def money(amount: Decimal, currency: str) -> str:
    """With at least the decimals of the currency's minor unit: "EUR 5.00", "EUR 0.002", "JPY 3"."""
    least = MINOR_UNIT_DIGITS.get(currency, 2)
    decimals = max(least, len(format_amount(amount).partition(".")[2]))
    return f"{currency} {amount:,.{decimals}f}"


def _graduated(tiers: tuple[Tier, ...], currency: str) -> Iterator[str]:
    for index, tier in enumerate(tiers):
        words = _tier(tier, currency)
        if tier.up_to is None:
            yield words
        elif index:
            yield f"{words} up to {tier.up_to:,}"
        else:
            yield (
                f"the first {tier.up_to:,} free"
                if words == "free"
                else f"{words} for the first {tier.up_to:,}"
            )


def _volume(tiers: tuple[Tier, ...], currency: str) -> Iterator[str]:
    for tier in tiers:
        yield f"{_tier(tier, currency)} if {'more' if tier.up_to is None else f'up to {tier.up_to:,}'}"


def _tier(tier: Tier, currency: str) -> str:
    if not tier.unit_amount and not tier.flat_amount:
        return "free"
    parts = []
    if tier.flat_amount:
        parts.append(f"{money(tier.flat_amount, currency)} once")
    if tier.unit_amount or not parts:
        parts.append(f"{money(tier.unit_amount, currency)} each")
    return " plus ".join(parts)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
