"""What usage comes to equals a slow reckoning in fractions, written from docs/billing.md alone."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from ams_rating.charging import ChargeClass, ChargeRule, charge_class
from ams_rating.currencies import MINOR_UNIT_DIGITS
from ams_rating.prices import (
    MAX_UNITS,
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
    problems_of,
)
from ams_rating.rate import Counts, charged_counts, rate, total_of
from hypothesis import example, given
from hypothesis import strategies as st

amounts = st.one_of(
    st.decimals(0, 1000, places=9),
    st.decimals(0, 100, places=2),
    st.sampled_from([Decimal("0.005"), Decimal("0.015"), Decimal("0.0005"), Decimal("0.5"), Decimal(0)]),
)
borders = st.lists(st.one_of(st.integers(1, 50), st.integers(1, MAX_UNITS)), max_size=6, unique=True).map(
    sorted
)


@st.composite
def tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    ends = [*draw(borders), None]
    return tuple(Tier(end, draw(amounts), draw(st.one_of(st.just(Decimal(0)), amounts))) for end in ends)


schemes: st.SearchStrategy[Scheme] = st.one_of(
    st.builds(PerUnit, amounts),
    st.builds(Packages, st.one_of(st.integers(1, 30), st.integers(1, MAX_UNITS)), amounts),
    st.builds(Graduated, tiers()),
    st.builds(Volume, tiers()),
)
components = st.one_of(
    st.builds(Component, st.sampled_from(Meter), schemes),
    st.builds(Component, st.none(), st.builds(MonthlyFee, amounts)),
)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    parts = draw(st.lists(components, max_size=5))
    fees = [part for part in parts if part.meter is None]
    rule = ChargeRule(draw(st.booleans()), draw(st.booleans()))
    kept = tuple(part for part in parts if part.meter is not None or part is fees[0])
    return Price(draw(st.sampled_from(["EUR", "JPY", "KWD"])), kept, rule)


def interesting(price: Price) -> list[int]:
    """Quantities at which something changes: borders of tiers and packages."""
    found = [0, 1, 2]
    for part in price.components:
        match part.scheme:
            case Graduated(steps) | Volume(steps):
                found += [tier.up_to for tier in steps if tier.up_to is not None]
            case Packages(size, _):
                found += [size, 2 * size]
    return found


@st.composite
def priced_usage(draw: st.DrawFn) -> tuple[Price, Counts]:
    """A price, and usage that is often at one of its borders, or a call or byte beside it."""
    price = draw(prices())

    def figure(scale: int) -> int:
        border = draw(st.sampled_from(interesting(price))) * scale
        return draw(st.one_of(st.just(max(0, border + draw(st.integers(-1, 1)))), st.integers(0, 10**12)))

    return price, Counts(figure(1), figure(10**6), figure(10**6))


def quantity_of(meter: Meter, counts: Counts) -> Fraction:
    return {
        Meter.REQUESTS: Fraction(counts.requests),
        Meter.EXECUTIONS: Fraction(counts.requests),
        Meter.REQUEST_MEGABYTES: Fraction(counts.request_bytes, 1_000_000),
        Meter.RESPONSE_MEGABYTES: Fraction(counts.response_bytes, 1_000_000),
        Meter.MEGABYTES: Fraction(counts.request_bytes + counts.response_bytes, 1_000_000),
    }[meter]


def tier_cost(tier: Tier, quantity: Fraction) -> Fraction:
    return Fraction(tier.flat_amount) + quantity * Fraction(tier.unit_amount)


def cost(scheme: Scheme, quantity: Fraction) -> Fraction:
    """The exact amount of a quantity above zero."""
    if isinstance(scheme, PerUnit):
        return quantity * Fraction(scheme.amount)
    if isinstance(scheme, Packages):
        return ceil(quantity / scheme.size) * Fraction(scheme.amount)
    if isinstance(scheme, MonthlyFee):
        return Fraction(scheme.amount)
    starts = [0, *(tier.up_to for tier in scheme.tiers[:-1] if tier.up_to is not None)]
    reached = [(start, tier) for start, tier in zip(starts, scheme.tiers, strict=True) if quantity > start]
    if isinstance(scheme, Volume):
        return tier_cost(reached[-1][1], quantity)
    return sum(
        (
            tier_cost(tier, min(quantity, Fraction(tier.up_to)) - start if tier.up_to else quantity - start)
            for start, tier in reached
        ),
        Fraction(0),
    )


def rounded(exact: Fraction, currency: str) -> Fraction:
    """Python rounds fractions half-even, too, by code of its own."""
    return round(exact, MINOR_UNIT_DIGITS[currency])


def reference(price: Price, counts: Counts) -> list[Fraction]:
    amounts = []
    for part in price.components:
        if part.meter is None:
            quantity = Fraction(1 if counts != Counts() else 0)
        else:
            quantity = quantity_of(part.meter, counts)
        exact = cost(part.scheme, quantity) if quantity else Fraction(0)
        amounts.append(rounded(exact, price.currency))
    return amounts


def requests(scheme: Scheme, count: int, currency: str = "EUR") -> Decimal:
    return total_of(rate(Price(currency, (Component(Meter.REQUESTS, scheme),)), Counts(count)))


@given(priced_usage())
def test_each_amount_equals_the_slow_reckoning(priced: tuple[Price, Counts]) -> None:
    price, counts = priced
    assert problems_of(price) == []
    rated = rate(price, counts)
    assert [Fraction(part.amount) for part in rated] == reference(price, counts)
    assert Fraction(total_of(rated)) == sum(reference(price, counts))


@given(priced_usage())
def test_an_amount_is_its_steps_rounded_once(priced: tuple[Price, Counts]) -> None:
    price, counts = priced
    for part in rate(price, counts):
        exact = sum((Fraction(step.amount) for step in part.steps), Fraction(0))
        assert Fraction(part.amount) == rounded(exact, price.currency)
        assert part.amount.as_tuple().exponent == -MINOR_UNIT_DIGITS[price.currency]
        for step in part.steps:
            assert Fraction(step.amount) == Fraction(step.quantity) * Fraction(step.unit_amount) + Fraction(
                step.flat_amount
            )
        if isinstance(price.components[part.component].scheme, Graduated):
            assert sum(step.quantity for step in part.steps) == part.quantity


@given(st.sampled_from(Meter), st.integers(0, 10**15), st.integers(0, 10**15))
def test_megabytes_are_exact_to_the_byte(meter: Meter, sent: int, received: int) -> None:
    counts = Counts(7, sent, received)
    (part,) = rate(Price("EUR", (Component(meter, PerUnit(Decimal(1))),)), counts)
    assert Fraction(part.quantity) == quantity_of(meter, counts)


@given(prices())
def test_no_usage_costs_nothing(price: Price) -> None:
    rated = rate(price, Counts())
    assert total_of(rated) == 0
    assert all(part.quantity == 0 and part.steps == () for part in rated)


@given(prices(), st.sets(st.sampled_from(ChargeClass)))
def test_only_what_the_rule_charges_counts(price: Price, used: set[ChargeClass]) -> None:
    usage = {kind: Counts(10**index, index + 1) for index, kind in enumerate(ChargeClass) if kind in used}
    expected = Counts()
    for kind, counts in usage.items():
        is_free = {
            ChargeClass.SERVED: False,
            ChargeClass.CLIENT_ERROR: price.charge_rule.is_client_error_free,
            ChargeClass.ABANDONED: price.charge_rule.is_abandoned_free,
            ChargeClass.UNCHARGED: True,
        }[kind]
        expected = expected if is_free else expected.plus(counts)
    assert charged_counts(price, usage) == expected


@pytest.mark.parametrize(
    ("outcome", "status", "kind"),
    [
        ("answered", 101, ChargeClass.SERVED),
        ("answered", 399, ChargeClass.SERVED),
        ("answered", 400, ChargeClass.CLIENT_ERROR),
        ("answered", 499, ChargeClass.CLIENT_ERROR),
        ("answered", 500, ChargeClass.UNCHARGED),
        ("broken_off", 200, ChargeClass.SERVED),
        ("broken_off", 404, ChargeClass.CLIENT_ERROR),
        ("broken_off", 503, ChargeClass.UNCHARGED),
        ("client_closed", 499, ChargeClass.ABANDONED),
        ("upstream_failed", 502, ChargeClass.UNCHARGED),
        ("refused", 413, ChargeClass.UNCHARGED),
    ],
)
def test_how_a_call_ended_says_what_it_is_charged_as(outcome: str, status: int, kind: ChargeClass) -> None:
    assert charge_class(outcome, status) is kind


def test_another_outcome_is_not_guessed() -> None:
    with pytest.raises(ValueError, match="no outcome"):
        charge_class("", 200)


@pytest.mark.parametrize(
    ("count", "amount"), [(10, "0.10"), (11, "0.12"), (20, "0.30"), (21, "1.33"), (0, "0"), (1, "0.01")]
)
def test_a_tiers_last_unit_belongs_to_it(count: int, amount: str) -> None:
    steps = (
        Tier(10, Decimal("0.01")),
        Tier(20, Decimal("0.02")),
        Tier(None, Decimal("0.03"), Decimal(1)),
    )
    assert requests(Graduated(steps), count) == Decimal(amount)


@pytest.mark.parametrize(("count", "amount"), [(10, "0.20"), (11, "0.11"), (0, "0")])
def test_all_units_cost_what_the_last_ones_tier_says(count: int, amount: str) -> None:
    assert requests(Volume((Tier(10, Decimal("0.02")), Tier(None, Decimal("0.01")))), count) == Decimal(
        amount
    )


@pytest.mark.parametrize(("size_bytes", "amount"), [(10_000_000, "10"), (10_000_001, "5.0000005")])
def test_a_border_in_megabytes_is_exact_to_the_byte(size_bytes: int, amount: str) -> None:
    scheme = Volume((Tier(10, Decimal(1)), Tier(None, Decimal("0.5"))))
    (part,) = rate(Price("EUR", (Component(Meter.MEGABYTES, scheme),)), Counts(1, size_bytes))
    assert part.steps[0].amount == Decimal(amount)


@pytest.mark.parametrize(
    ("currency", "unit", "amount"),
    [
        ("EUR", "0.005", "0.00"),
        ("EUR", "0.015", "0.02"),
        ("EUR", "0.025", "0.02"),
        ("EUR", "0.025000001", "0.03"),
        ("JPY", "0.5", "0"),
        ("JPY", "1.5", "2"),
        ("JPY", "2.5", "2"),
        ("KWD", "0.0005", "0.000"),
        ("KWD", "0.0015", "0.002"),
    ],
)
def test_halves_of_the_minor_unit_go_to_the_even_one(currency: str, unit: str, amount: str) -> None:
    assert str(requests(PerUnit(Decimal(unit)), 1, currency)) == amount


def test_a_fee_that_is_not_due_is_a_line_of_nothing() -> None:
    price = Price(
        "EUR", (Component(None, MonthlyFee(Decimal(5))), Component(Meter.REQUESTS, PerUnit(Decimal(1))))
    )
    fee, calls = rate(price, Counts(2), is_fee_due=False)
    assert fee.quantity == fee.amount == 0 and not fee.steps
    assert calls.amount == 2


@given(st.lists(st.integers(0, 10**9), max_size=6), st.integers(0, 5))
@example([1, 0], 0)
def test_more_usage_never_costs_less_but_by_volume(ends: Sequence[int], more: int) -> None:
    """Why totals that only grow make bills that only grow: volume tiers are the one model that can fall."""
    inner = [Tier(end, Decimal("0.1")) for end in sorted({*ends} - {0})]
    steps = (*inner, Tier(None, Decimal("0.01")))
    for scheme in (Graduated(steps), Packages(7, Decimal(1)), PerUnit(Decimal("0.3"))):
        for count in ends:
            assert requests(scheme, count + more) >= requests(scheme, count)


def test_the_greatest_bill_is_exact() -> None:
    price = Price("EUR", (Component(Meter.MEGABYTES, PerUnit(Decimal("999999.999999999"))),))
    most = 2**63 - 1
    exact = Fraction(2 * most, 10**6) * Fraction("999999.999999999")
    assert Fraction(total_of(rate(price, Counts(1, most, most)))) == rounded(exact, "EUR")
