"""What a month's usage costs under a price: exact decimals, rounded once per component (docs/billing.md)."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal, Inexact, InvalidOperation, localcontext

from ams_rating.charging import ChargeClass, is_charged
from ams_rating.currencies import round_to_minor_unit
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

# A 64-bit quantity with six decimals times an amount with nine has at most 44 digits; sums have more.
_DIGITS = 80


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted: calls, or an image's runs, and the bytes of their bodies."""

    requests: int = 0
    request_bytes: int = 0
    response_bytes: int = 0

    def plus(self, other: "Counts") -> "Counts":
        return Counts(
            self.requests + other.requests,
            self.request_bytes + other.request_bytes,
            self.response_bytes + other.response_bytes,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """How a part of a quantity was rated: units above `start`, up to and with `end` (None: without end).
    `amount` is exact."""

    start: Decimal
    end: Decimal | None
    quantity: Decimal
    unit_amount: Decimal
    flat_amount: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class RatedComponent:
    """What a component of a price comes to: `amount` is the steps' sum, rounded once, half-even."""

    component: int
    meter: Meter | None
    quantity: Decimal
    steps: tuple[Step, ...]
    amount: Decimal


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Enough digits for any bill. Running out of them raises decimal.Inexact: a sum that was cut would be
    rounded twice."""
    with localcontext(Context(prec=_DIGITS, traps=[InvalidOperation, Inexact])):
        yield


def charged_counts(price: Price, usage: Mapping[ChargeClass, Counts]) -> Counts:
    """What of a month's usage the price's rule charges."""
    total = Counts()
    for kind, counts in usage.items():
        if is_charged(price.charge_rule, kind):
            total = total.plus(counts)
    return total


def rate(price: Price, counts: Counts, *, is_fee_due: bool = True) -> tuple[RatedComponent, ...]:
    """What the charged usage of one consumer and service in one UTC month comes to, by component.

    A month has one monthly fee: of the first of its price versions under which anything was charged.
    `is_fee_due` is False for the others.
    """
    rated = []
    for index, component in enumerate(price.components):
        quantity = _quantity(component, counts)
        if component.meter is None and not is_fee_due:
            quantity = Decimal(0)
        with exact_arithmetic():
            steps = tuple(_steps(component.scheme, quantity))
            exact = sum((step.amount for step in steps), Decimal(0))
        rated.append(RatedComponent(index, component.meter, quantity, steps, _rounded(exact, price.currency)))
    return tuple(rated)


def total_of(rated: Iterable[RatedComponent]) -> Decimal:
    """The sum of the components' amounts."""
    with exact_arithmetic():
        return sum((part.amount for part in rated), Decimal(0))


def _rounded(exact: Decimal, currency: str) -> Decimal:
    with localcontext(Context(prec=_DIGITS, traps=[InvalidOperation])):
        return round_to_minor_unit(exact, currency)


def _quantity(component: Component, counts: Counts) -> Decimal:
    match component.meter:
        case Meter.REQUESTS | Meter.EXECUTIONS:
            return Decimal(counts.requests)
        case Meter.REQUEST_MEGABYTES:
            return _megabytes(counts.request_bytes)
        case Meter.RESPONSE_MEGABYTES:
            return _megabytes(counts.response_bytes)
        case Meter.MEGABYTES:
            return _megabytes(counts.request_bytes + counts.response_bytes)
        case None:
            # A monthly fee: once, if there was anything at all.
            return Decimal(1 if counts != Counts() else 0)


def _megabytes(size_bytes: int) -> Decimal:
    with exact_arithmetic():
        return Decimal(size_bytes).scaleb(-6)


def _steps(scheme: Scheme, quantity: Decimal) -> Iterator[Step]:
    if quantity <= 0:
        return
    zero = Decimal(0)
    match scheme:
        case PerUnit(amount) | MonthlyFee(amount):
            yield Step(zero, None, quantity, amount, zero, quantity * amount)
        case Packages(size, amount):
            # Rounded up by integers: a quotient of decimals would be cut.
            begun = quantity.to_integral_value(ROUND_CEILING)
            packages = Decimal(-(-int(begun) // size))
            yield Step(zero, None, packages, amount, zero, packages * amount)
        case Graduated(tiers):
            yield from _graduated(tiers, quantity)
        case Volume(tiers):
            start = zero
            for tier in tiers:
                if tier.up_to is None or quantity <= tier.up_to:
                    yield _step(tier, start, quantity)
                    return
                start = Decimal(tier.up_to)


def _graduated(tiers: tuple[Tier, ...], quantity: Decimal) -> Iterator[Step]:
    start = Decimal(0)
    for tier in tiers:
        if quantity <= start:
            return
        end = quantity if tier.up_to is None else min(quantity, Decimal(tier.up_to))
        yield _step(tier, start, end - start)
        start = end


def _step(tier: Tier, start: Decimal, quantity: Decimal) -> Step:
    end = None if tier.up_to is None else Decimal(tier.up_to)
    amount = quantity * tier.unit_amount + tier.flat_amount
    return Step(start, end, quantity, tier.unit_amount, tier.flat_amount, amount)
