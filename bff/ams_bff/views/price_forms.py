"""A price as a form: parts that are added and taken away by buttons, with scripts and without.

A control is named as the field of ams.catalog.v1.Price, with numbers for indices:
"price.components.0.graduated.tiers.1.up_to".
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ams.billing.v1 import billing_service_pb2 as billing_pb
from ams.catalog.v1 import pricing_pb2 as pb
from ams_rating.prices import MAX_COMPONENTS, MAX_TIERS, MAX_UNITS
from google.type.money_pb2 import Money

from ams_bff.ui.amounts import CURRENCY_CHOICES, amount_of, typed
from ams_bff.ui.forms import Form
from ams_bff.ui.price_words import GRADUATED, TIER_BORDER, VOLUME

CURRENCY = "price.currency_code"
_RULE = "price.charge_rule"
_COMPONENTS = "price.components."
_TIERED = ("graduated", "volume")
SCHEMES = {
    "per_unit": "Per unit",
    "graduated": "Graduated tiers",
    "volume": "Volume tiers",
    "packages": "Packages",
    "monthly_fee": "Monthly fee",
}
METERS = {
    "REQUESTS": "Requests",
    "RESPONSE_MEGABYTES": "MB of response data",
    "REQUEST_MEGABYTES": "MB of request data",
    "MEGABYTES": "MB of data, both ways",
    "EXECUTIONS": "Executions of an image",
}
_ABOUT = {
    "per_unit": "The same for each unit.",
    "graduated": f"{GRADUATED} {TIER_BORDER}",
    "volume": f"{VOLUME} {TIER_BORDER}",
    "packages": "So much for each package that was begun.",
    "monthly_fee": "Once for each consumer and month in which something was charged.",
}
_RULES = {"client_errors": "is_client_error_free", "abandoned": "is_abandoned_free"}
# The months that the preview is made for, until somebody types another.
_EXAMPLE = {
    "example.requests": "10000",
    "example.client_errors": "0",
    "example.request_megabytes": "10",
    "example.response_megabytes": "100",
    "example.executions": "100",
}
_MOST_EXAMPLE = 10**9
_BYTES_PER_MEGABYTE = 10**6
_TIER_FIELDS = ("up_to", "unit_amount", "flat_amount")
_NUMBER = re.compile(re.escape(_COMPONENTS) + r"(\d{1,4})\.scheme")


@dataclass(frozen=True, slots=True)
class TierTyped:
    up_to: str = ""
    unit_amount: str = ""
    flat_amount: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A component as it was typed."""

    scheme: str
    meter: str = "REQUESTS"
    amount: str = ""
    size: str = ""
    tiers: Sequence[TierTyped] = field(default_factory=tuple)

    @property
    def is_tiered(self) -> bool:
        return self.scheme in _TIERED


def starting_values(price: pb.Price | None = None) -> dict[str, Any]:
    """The controls of a price; without one, those of a price per request that has no amount yet."""
    if price is None or not price.currency_code:
        return {CURRENCY: "EUR", **_written([Part("per_unit")]), **_EXAMPLE}
    rule = [name for name, field_name in _RULES.items() if getattr(price.charge_rule, field_name)]
    parts = [_part(component) for component in price.components]
    return {CURRENCY: price.currency_code, _RULE: rule, **_written(parts), **_EXAMPLE}


def parts_of(form: Form) -> list[Part]:
    """What was typed, in its order."""
    numbers = sorted(int(found[1]) for name in form.values if (found := _NUMBER.fullmatch(name)))
    parts = [_typed_part(form, f"{_COMPONENTS}{number}") for number in numbers]
    return [part for part in parts if part.scheme in SCHEMES][:MAX_COMPONENTS]


def edit(form: Form) -> bool:
    """Whether the button that was pressed changes what can be typed: parts and tiers come and go, and the
    others keep what was typed into them."""
    verb, _, rest = form["intent"].partition(":")
    if verb not in ("preview", "add", "drop", "tier", "untier"):
        return False
    parts = list(_edited(parts_of(form), verb, rest))
    for name in [name for name in form.values if name.startswith(_COMPONENTS)]:
        del form.values[name]
    form.values.update({name: [text] for name, text in _written(parts).items()})
    form.status = 200
    return True


def price_of(form: Form) -> pb.Price:
    """The price as typed. What is none is an error of its control, which the form then has."""
    rules = {_RULES[name]: True for name in form.all(_RULE) if name in _RULES}
    price = pb.Price(currency_code=form[CURRENCY], charge_rule=pb.ChargeRule(**rules))
    for index, part in enumerate(parts_of(form)):
        component = price.components.add()
        if part.scheme != "monthly_fee":
            if part.meter not in METERS:
                form.refuse(f"{_COMPONENTS}{index}.meter", "must be chosen")
            else:
                component.meter = pb.Meter.Value(part.meter)
        _fill(component, form, f"{_COMPONENTS}{index}.{part.scheme}", part)
    return price


def quantities_of(form: Form) -> billing_pb.Quantities:
    """The example month; what can't be read counts as nothing. Of an image, runs stand for requests."""
    count = {name: _count(form[name]) for name in _EXAMPLE}
    is_image = any(part.meter == "EXECUTIONS" for part in parts_of(form))
    count["example.requests" if is_image else "example.executions"] = 0
    errors = min(count["example.client_errors"], count["example.requests"])
    return billing_pb.Quantities(
        served=count["example.requests"] - errors,
        client_errors=errors,
        request_bytes=count["example.request_megabytes"] * _BYTES_PER_MEGABYTE,
        response_bytes=count["example.response_megabytes"] * _BYTES_PER_MEGABYTE,
        executions=count["example.executions"],
    )


def editor_context(form: Form) -> dict[str, Any]:
    """What templates/prices/editor.html shows beside the form."""
    parts = parts_of(form)
    return {
        "parts": parts,
        "schemes": [(name, SCHEMES[name]) for name in SCHEMES if not _is_twice(name, parts)],
        "scheme_names": SCHEMES,
        "about_scheme": _ABOUT,
        "meters": list(METERS.items()),
        "currencies": CURRENCY_CHOICES,
        "may_add": len(parts) < MAX_COMPONENTS,
        "most_tiers": MAX_TIERS,
    }


def _is_twice(scheme: str, parts: Sequence[Part]) -> bool:
    return scheme == "monthly_fee" and any(part.scheme == scheme for part in parts)


def _edited(parts: list[Part], verb: str, rest: str) -> Iterator[Part]:
    """The parts after "add:volume", "drop:1", "tier:0" (one more) or "untier:0:2" (one less)."""
    numbers = [int(text) for text in rest.split(":") if re.fullmatch(r"\d{1,4}", text)]
    for index, part in enumerate(parts):
        is_meant = bool(numbers) and numbers[0] == index
        if verb == "drop" and is_meant:
            continue
        tiers = list(part.tiers)
        if is_meant and verb == "tier" and len(tiers) < MAX_TIERS:
            tiers.append(TierTyped())
        if is_meant and verb == "untier" and len(numbers) == 2 and len(tiers) > 1:
            tiers = [tier for number, tier in enumerate(tiers) if number != numbers[1]]
            tiers[-1] = replace(tiers[-1], up_to="")
        yield replace(part, tiers=tiers)
    if verb == "add" and rest in SCHEMES and len(parts) < MAX_COMPONENTS and not _is_twice(rest, parts):
        yield Part(rest, tiers=[TierTyped(), TierTyped()] if rest in _TIERED else [])


def _typed_part(form: Form, at: str) -> Part:
    scheme = form[f"{at}.scheme"]
    tiers: list[TierTyped] = []
    tier_at = f"{at}.{scheme}.tiers."
    while (
        scheme in _TIERED and f"{tier_at}{len(tiers)}.unit_amount" in form.values and len(tiers) < MAX_TIERS
    ):
        texts = {name: form[f"{tier_at}{len(tiers)}.{name}"] for name in _TIER_FIELDS}
        tiers.append(TierTyped(**texts))
    amount, size = form[f"{at}.{scheme}.amount"], form[f"{at}.packages.size"]
    return Part(scheme, form[f"{at}.meter"], amount, size, tiers)


def _written(parts: Sequence[Part]) -> dict[str, str]:
    """The controls of parts by their names."""
    values: dict[str, str] = {}
    for index, part in enumerate(parts):
        at = f"{_COMPONENTS}{index}"
        values |= {f"{at}.scheme": part.scheme, f"{at}.meter": part.meter}
        if part.is_tiered:
            for number, tier in enumerate(part.tiers):
                tier_at = f"{at}.{part.scheme}.tiers.{number}"
                values |= {f"{tier_at}.{name}": getattr(tier, name) for name in _TIER_FIELDS}
        else:
            values[f"{at}.{part.scheme}.amount"] = part.amount
        if part.scheme == "packages":
            values[f"{at}.packages.size"] = part.size
    return values


def _part(component: pb.PriceComponent) -> Part:
    scheme = component.WhichOneof("scheme") or "per_unit"
    meter = pb.Meter.Name(component.meter) if component.meter else ""
    if scheme in _TIERED:
        tiers = [
            TierTyped(str(tier.up_to or ""), typed(tier.unit_amount), _typed_unless_zero(tier.flat_amount))
            for tier in getattr(component, scheme).tiers
        ]
        return Part(scheme, meter, tiers=tiers)
    size = str(component.packages.size) if scheme == "packages" else ""
    return Part(scheme, meter, typed(getattr(component, scheme).amount), size)


def _typed_unless_zero(amount: Money) -> str:
    return typed(amount) if amount.units or amount.nanos else ""


def _fill(component: pb.PriceComponent, form: Form, at: str, part: Part) -> None:
    if part.is_tiered:
        tiers = getattr(component, part.scheme).tiers
        for number, _ in enumerate(part.tiers):
            is_last = number == len(part.tiers) - 1
            tiers.append(_tier(form, f"{at}.tiers.{number}", is_last))
        return
    scheme = getattr(component, part.scheme)
    amount = amount_of(form, f"{at}.amount", CURRENCY, example="0.002")
    # Marks the scheme as chosen, also where the amount is none.
    scheme.SetInParent()
    if amount is not None:
        scheme.amount.CopyFrom(amount)
    if part.scheme == "packages":
        scheme.size = form.whole(f"{at}.size", 1, MAX_UNITS)


def _tier(form: Form, at: str, is_last: bool) -> pb.Tier:
    tier = pb.Tier()
    if not is_last:
        tier.up_to = form.whole(f"{at}.up_to", 1, MAX_UNITS)
    for name in ("unit_amount", "flat_amount"):
        if form[f"{at}.{name}"] or name == "unit_amount":
            amount = amount_of(form, f"{at}.{name}", CURRENCY, example="0.002")
            if amount is not None:
                getattr(tier, name).CopyFrom(amount)
    return tier


def _count(text: str) -> int:
    plain = text.replace(",", "").replace(" ", "")
    return min(int(plain), _MOST_EXAMPLE) if re.fullmatch(r"\d{1,15}", plain) else 0
