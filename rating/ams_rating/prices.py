"""Prices: what they are made of, and which make sense. Amounts are exact decimals in the price's currency."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum

from ams_rating.charging import ChargeRule
from ams_rating.currencies import MINOR_UNIT_DIGITS

MAX_AMOUNT = Decimal(1_000_000)
MAX_COMPONENTS = 10
MAX_TIERS = 20
MAX_UNITS = 10**12
# A thousand-millionth of the currency's unit: what google.type.Money can say.
MAX_DECIMALS = 9


class Meter(Enum):
    """What is counted. Megabytes are decimal, 10^6 bytes, and exact to the byte. An execution is to an image
    what a request is to an API: one usage event."""

    REQUESTS = "requests"
    REQUEST_MEGABYTES = "request_megabytes"
    RESPONSE_MEGABYTES = "response_megabytes"
    MEGABYTES = "megabytes"
    EXECUTIONS = "executions"


@dataclass(frozen=True, slots=True)
class PerUnit:
    """Each unit costs the same."""

    amount: Decimal


@dataclass(frozen=True, slots=True)
class Tier:
    """The units above the tier before it, up to and with `up_to`; None in the last tier, which has no end.
    `flat_amount` is added once, when the tier is reached."""

    up_to: int | None
    unit_amount: Decimal
    flat_amount: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Graduated:
    """Each unit costs what the tier says that it falls in."""

    tiers: tuple[Tier, ...]


@dataclass(frozen=True, slots=True)
class Volume:
    """All units cost what the tier says that the last of them falls in."""

    tiers: tuple[Tier, ...]


@dataclass(frozen=True, slots=True)
class Packages:
    """So much for each package of `size` units that was begun."""

    size: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class MonthlyFee:
    """Once in each month in which a call was made that is charged by the price's rule."""

    amount: Decimal


Scheme = PerUnit | Graduated | Volume | Packages | MonthlyFee


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a price, a line of an invoice. `meter` is None for a monthly fee alone."""

    meter: Meter | None
    scheme: Scheme


@dataclass(frozen=True, slots=True)
class Price:
    """What a service costs: its components add up; without any it is free."""

    currency: str
    components: tuple[Component, ...] = ()
    charge_rule: ChargeRule = field(default_factory=ChargeRule)


@dataclass(frozen=True, slots=True)
class PriceProblem:
    """What is wrong with a price: where ("components[0].graduated.tiers[1].up_to"), and what."""

    where: str
    description: str


def problems_of(price: Price) -> list[PriceProblem]:
    """Everything that keeps a price from being billed; none for a good one."""
    problems = []
    if price.currency not in MINOR_UNIT_DIGITS:
        problems.append(PriceProblem("currency_code", "must be a currency of ISO 4217"))
    if len(price.components) > MAX_COMPONENTS:
        problems.append(PriceProblem("components", f"must be at most {MAX_COMPONENTS}"))
    fees = [index for index, part in enumerate(price.components) if isinstance(part.scheme, MonthlyFee)]
    if len(fees) > 1:
        problems.append(PriceProblem(f"components[{fees[1]}]", "is a second monthly fee"))
    for index, component in enumerate(price.components):
        problems += _component_problems(f"components[{index}]", component)
    return problems


def _component_problems(where: str, component: Component) -> list[PriceProblem]:
    match component.scheme:
        case MonthlyFee(amount):
            problems = _amount_problems(f"{where}.monthly_fee.amount", amount)
            if component.meter is not None:
                problems.append(
                    PriceProblem(f"{where}.meter", "must not be set: a monthly fee counts nothing")
                )
            return problems
        case PerUnit(amount):
            problems = _amount_problems(f"{where}.per_unit.amount", amount)
        case Packages(size, amount):
            problems = _amount_problems(f"{where}.packages.amount", amount)
            if not 1 <= size <= MAX_UNITS:
                problems.append(PriceProblem(f"{where}.packages.size", f"must be from 1 to {MAX_UNITS:,}"))
        case Graduated(tiers):
            problems = _tier_problems(f"{where}.graduated.tiers", tiers)
        case Volume(tiers):
            problems = _tier_problems(f"{where}.volume.tiers", tiers)
    if component.meter is None:
        problems.append(PriceProblem(f"{where}.meter", "must say what is counted"))
    return problems


def _tier_problems(where: str, tiers: tuple[Tier, ...]) -> list[PriceProblem]:
    if not 1 <= len(tiers) <= MAX_TIERS:
        return [PriceProblem(where, f"must be from 1 to {MAX_TIERS}")]
    problems = []
    before = 0
    for index, tier in enumerate(tiers):
        is_last = index == len(tiers) - 1
        if is_last and tier.up_to is not None:
            problems.append(PriceProblem(f"{where}[{index}].up_to", "must be without end in the last tier"))
        elif not is_last and (tier.up_to is None or not before < tier.up_to <= MAX_UNITS):
            problems.append(PriceProblem(f"{where}[{index}].up_to", "must be above the tier before it"))
        before = tier.up_to or before
        problems += _amount_problems(f"{where}[{index}].unit_amount", tier.unit_amount)
        problems += _amount_problems(f"{where}[{index}].flat_amount", tier.flat_amount)
    return problems


def _amount_problems(where: str, amount: Decimal) -> list[PriceProblem]:
    if not amount.is_finite() or not 0 <= amount <= MAX_AMOUNT:
        return [PriceProblem(where, f"must be from 0 to {MAX_AMOUNT:,}")]
    if amount != amount.quantize(Decimal(1).scaleb(-MAX_DECIMALS)):
        return [PriceProblem(where, f"must have at most {MAX_DECIMALS} decimals")]
    return []
