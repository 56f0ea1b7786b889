"""A price as JSON: how it is stored, and how it stands in the files of `ams-verify` (docs/proofs.md)."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from ams_rating.charging import ChargeRule
from ams_rating.prices import (
    Component,
    Graduated,
    Meter,
    MonthlyFee,
    Packages,
    PerUnit,
    Price,
    Scheme,
    Tier,
    Volume,
)


def price_to_json(price: Price) -> dict[str, Any]:
    """Amounts are texts, for JSON's numbers aren't exact. Equal prices have equal JSON."""
    return {
        "currency": price.currency,
        "components": [_component(component) for component in price.components],
        "charge_rule": {
            "is_client_error_free": price.charge_rule.is_client_error_free,
            "is_abandoned_free": price.charge_rule.is_abandoned_free,
        },
    }


def price_from_json(data: Mapping[str, Any]) -> Price:
    """Raises ValueError for what isn't a price in this form."""
    try:
        rule = data["charge_rule"]
        return Price(
            currency=str(data["currency"]),
            components=tuple(_component_of(part) for part in data["components"]),
            charge_rule=ChargeRule(bool(rule["is_client_error_free"]), bool(rule["is_abandoned_free"])),
        )
    except (KeyError, TypeError, AttributeError, InvalidOperation) as error:
        raise ValueError(f"not a price: {error!r}") from None


def format_amount(amount: Decimal) -> str:
    """A decimal in its shortest plain form: "0.1", never "0.100" or "1E-1"."""
    return format(amount.normalize(), "f")


def _component(component: Component) -> dict[str, Any]:
    meter = component.meter.value if component.meter else None
    match component.scheme:
        case PerUnit(amount):
            return {"meter": meter, "scheme": "per_unit", "amount": format_amount(amount)}
        case MonthlyFee(amount):
            return {"meter": meter, "scheme": "monthly_fee", "amount": format_amount(amount)}
        case Packages(size, amount):
            return {"meter": meter, "scheme": "packages", "size": size, "amount": format_amount(amount)}
        case Graduated(tiers):
            return {"meter": meter, "scheme": "graduated", "tiers": [_tier(tier) for tier in tiers]}
        case Volume(tiers):
            return {"meter": meter, "scheme": "volume", "tiers": [_tier(tier) for tier in tiers]}


def _tier(tier: Tier) -> dict[str, Any]:
    return {
        "up_to": tier.up_to,
        "unit_amount": format_amount(tier.unit_amount),
        "flat_amount": format_amount(tier.flat_amount),
    }


def _component_of(data: Mapping[str, Any]) -> Component:
    meter = None if data["meter"] is None else Meter(data["meter"])
    return Component(meter, _scheme_of(data))


def _scheme_of(data: Mapping[str, Any]) -> Scheme:
    match data["scheme"]:
        case "per_unit":
            return PerUnit(Decimal(data["amount"]))
        case "monthly_fee":
            return MonthlyFee(Decimal(data["amount"]))
        case "packages":
            return Packages(int(data["size"]), Decimal(data["amount"]))
        case "graduated":
            return Graduated(tuple(_tier_of(tier) for tier in data["tiers"]))
        case "volume":
            return Volume(tuple(_tier_of(tier) for tier in data["tiers"]))
        case other:
            raise ValueError(f"{other!r} is no scheme")


def _tier_of(data: Mapping[str, Any]) -> Tier:
    up_to = data["up_to"]
    return Tier(
        None if up_to is None else int(up_to), Decimal(data["unit_amount"]), Decimal(data["flat_amount"])
    )
