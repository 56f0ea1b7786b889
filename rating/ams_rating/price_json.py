"""A price as JSON: how it is stored, and how it stands in the files of `ams-verify` (docs/proofs.md)."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeVar

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

_T = TypeVar("_T")
_AMOUNT = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")


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
    """Raises ValueError for what isn't a price in this form. Whether the price makes sense is `problems_of`'s
    to say."""
    try:
        rule = data["charge_rule"]
        return Price(
            currency=_is_a(str, data["currency"]),
            components=tuple(_component_of(part) for part in _is_a(list, data["components"])),
            charge_rule=ChargeRule(
                _is_a(bool, rule["is_client_error_free"]), _is_a(bool, rule["is_abandoned_free"])
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a price: {error!r}") from None


def format_amount(amount: Decimal) -> str:
    """A decimal in its shortest plain form: "0.1", never "0.100" or "1E-1"."""
    # Not normalize(), which rounds to 28 digits.
    text = format(amount, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


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
            return PerUnit(_amount(data["amount"]))
        case "monthly_fee":
            return MonthlyFee(_amount(data["amount"]))
        case "packages":
            return Packages(_is_a(int, data["size"]), _amount(data["amount"]))
        case "graduated":
            return Graduated(tuple(_tier_of(tier) for tier in _is_a(list, data["tiers"])))
        case "volume":
            return Volume(tuple(_tier_of(tier) for tier in _is_a(list, data["tiers"])))
        case other:
            raise ValueError(f"{other!r} is no scheme")


def _tier_of(data: Mapping[str, Any]) -> Tier:
    up_to = None if data["up_to"] is None else _is_a(int, data["up_to"])
    return Tier(up_to, _amount(data["unit_amount"]), _amount(data["flat_amount"]))


def _amount(data: Any) -> Decimal:
    # A number of JSON has been through a float, and Decimal takes "NaN" and " 1_0 " for amounts.
    if not isinstance(data, str) or not _AMOUNT.fullmatch(data):
        raise ValueError(f"{data!r} is no amount")
    return Decimal(data)


def _is_a(kind: type[_T], data: Any) -> _T:
    # Not isinstance(): true is an int to Python, and a text that says "false" is true to bool().
    if type(data) is not kind:
        raise ValueError(f"{data!r} is not a {kind.__name__}")
    return data
