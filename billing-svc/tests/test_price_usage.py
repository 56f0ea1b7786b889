"""The pure rules of money: exact, rounded once, half-even, whatever the order."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from random import Random
from uuid import UUID

import pytest
from ams_rating.charging import ChargeClass
from ams_rating.currencies import MINOR_UNIT_DIGITS
from ams_rating.prices import Component, Graduated, Meter, MonthlyFee, PerUnit, Price, Tier
from ams_rating.rate import Counts
from billing_svc.commission import (
    CommissionRate,
    commission_credited,
    commission_of,
    format_rate,
    parse_rate,
    rate_for,
)
from billing_svc.invoices import NO_HISTORY, Billed, Composed, History, compose, sum_exactly
from billing_svc.rating import PriceVersion, Rated, Usage, rate_usage, totals_by_currency
from hypothesis import given
from hypothesis import strategies as st

CURRENCIES = st.sampled_from(sorted(MINOR_UNIT_DIGITS))
RATES = st.integers(0, 10**6 - 1).map(lambda millionths: Decimal(millionths).scaleb(-6))
STARTS_AT = datetime(2026, 1, 1, tzinfo=UTC)
MERCHANT, CONSUMER = UUID(int=1), UUID(int=2)
MONTH, FIRST_DAY = "2026-11", date(2026, 11, 1)


def half_even(exact: Fraction, currency: str) -> Fraction:
    """The definition, in whole minor units: Python rounds a Fraction to the nearest, ties to even."""
    scale = 10 ** MINOR_UNIT_DIGITS[currency]
    return Fraction(round(exact * scale), scale)


@given(st.integers(0, 10**28), RATES, CURRENCIES)
def test_commission_is_half_even_and_the_rest_is_the_merchants(
    minor_units: int, rate: Decimal, currency: str
) -> None:
    subtotal = Decimal(minor_units).scaleb(-MINOR_UNIT_DIGITS[currency], Context(prec=40))
    commission = commission_of(subtotal, rate, currency)
    assert Fraction(commission) == half_even(Fraction(subtotal) * Fraction(rate), currency)
    assert 0 <= commission <= subtotal


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=20), RATES, CURRENCIES)
def test_what_is_credited_bit_by_bit_gives_back_the_commission(
    parts: list[int], rate: Decimal, currency: str
) -> None:
    credited, given_back = Decimal(0), Decimal(0)
    for part in parts:
        amount = Decimal(part).scaleb(-MINOR_UNIT_DIGITS[currency])
        commission = commission_credited(credited, amount, given_back, rate, currency)
        assert 0 <= commission <= amount
        credited, given_back = sum_exactly((credited, amount)), sum_exactly((given_back, commission))
    assert given_back == commission_of(credited, rate, currency)


TIERS = (Tier(5, Decimal("0.4")), Tier(None, Decimal("0.05"), Decimal("1.5")))
PRICES = [
    Price("EUR", (Component(Meter.REQUESTS, PerUnit(Decimal("0.125"))),)),
    Price("JPY", (Component(Meter.REQUESTS, Graduated(TIERS)), Component(None, MonthlyFee(Decimal(3))))),
    Price("EUR"),
]


@st.composite
def usages(draw: st.DrawFn) -> list[Usage]:
    """Parts of a month's usage of few services, each with up to three price versions."""
    keys = st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from(list(ChargeClass)))
    parts = draw(st.lists(st.tuples(keys, st.integers(0, 10**12)), max_size=20))
    return [
        Usage(
            merchant_id=MERCHANT,
            consumer_id=CONSUMER,
            service_id=UUID(int=service),
            service_name=f"service {service}",
            month=MONTH,
            first_day=FIRST_DAY + timedelta(10 * version),
            last_day=FIRST_DAY + timedelta(10 * version + 9),
            version=PriceVersion(UUID(int=10 * service + version), PRICES[(service + version) % 3]),
            counts={kind: Counts(count, 10 * count, 100 * count)},
        )
        for (service, version, kind), count in parts
    ]


def composed(rated: Rated, history: History = NO_HISTORY, rate: str = "0.1") -> Composed:
    rates = [CommissionRate(Decimal(rate), "2000-01", STARTS_AT)]
    return compose(MERCHANT, CONSUMER, rated, history, rates)


@given(usages(), RATES, st.randoms())
def test_invoices_are_the_sums_of_their_lines_in_any_order(
    parts: list[Usage], rate: Decimal, random: Random
) -> None:
    invoices = composed(rate_usage(parts), rate=format_rate(rate)).invoices
    for invoice in invoices:
        assert invoice.lines
        assert Fraction(invoice.subtotal) == sum(Fraction(line.amount) for line in invoice.lines)
        assert Fraction(invoice.subtotal) - Fraction(invoice.commission) == Fraction(invoice.total)
        assert {line.rated.currency for line in invoice.lines} == {invoice.currency}
    shuffled = list(parts)
    random.shuffle(shuffled)
    assert composed(rate_usage(shuffled), rate=format_rate(rate)).invoices == invoices


@given(usages())
def test_what_a_consumer_has_spent_is_what_the_invoices_will_say(parts: list[Usage]) -> None:
    rated = rate_usage(parts)
    billed = {invoice.currency: invoice.subtotal for invoice in composed(rated).invoices}
    assert {currency: total for currency, total in totals_by_currency(rated.lines).items() if total} == {
        currency: total for currency, total in billed.items() if total
    }


def as_billed(invoices: Iterable[Composed]) -> History:
    """The history after these invoices were issued one after the other."""
    billed: dict[object, Billed] = {}
    for each in invoices:
        for invoice in each.invoices:
            for line in invoice.lines:
                before = billed.get(line.rated.key)
                amount = sum_exactly((line.amount, before.amount if before else Decimal(0)))
                billed[line.rated.key] = Billed(line.rated, amount)
    return History(billed, {})  # type: ignore[arg-type]


@given(usages(), usages())
def test_what_came_later_is_billed_on_top_and_the_same_again_is_not(
    first: list[Usage], later: list[Usage]
) -> None:
    one = composed(rate_usage(first))
    assert composed(rate_usage(first), as_billed([one])).invoices == ()
    everything = rate_usage([*first, *later])
    two = composed(everything, as_billed([one]))
    if two.withheld_months:
        return  # a fee went to an earlier version, and nothing else is due
    total = sum(Fraction(i.subtotal) for each in (one, two) for i in each.invoices if i.currency == "EUR")
    assert total == Fraction(totals_by_currency(everything.lines).get("EUR", Decimal(0)))
    assert composed(everything, as_billed([one, two])).invoices == ()


def test_the_rate_in_force_is_the_last_that_began() -> None:
    rates = [
        CommissionRate(Decimal(rate), starts_in, STARTS_AT)
        for rate, starts_in in [("0.2", "2026-12"), ("0.1", "2000-01"), ("0.15", "2026-03")]
    ]
    assert rate_for("1999-12", rates) is None
    assert rate_for("2026-02", rates) == Decimal("0.1")
    assert rate_for("2026-03", rates) == Decimal("0.15")
    assert rate_for("2026-11", rates) == Decimal("0.15")
    assert rate_for("2027-01", rates) == Decimal("0.2")


@given(RATES)
def test_a_rate_is_written_and_read_back(rate: Decimal) -> None:
    assert parse_rate(format_rate(rate)) == rate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.0",
        "-0.1",
        "+0.1",
        "0.1234567",
        ".5",
        "0.",
        "1e-3",
        "NaN",
        "Infinity",
        "0,1",
        "٠.١",
        "0.1\n",
        " 0.1",
    ],
)
def test_only_plain_fractions_below_one_are_rates(text: str) -> None:
    with pytest.raises(ValueError, match="decimal fraction"):
        parse_rate(text)


def test_sums_keep_every_digit() -> None:
    huge = Decimal("92233720368547758060776627963.15")
    assert sum_exactly([huge, Decimal("0.01"), huge]) == Decimal("184467440737095516121553255926.31")
    assert Context(prec=28, rounding=ROUND_HALF_EVEN).add(huge, huge) != sum_exactly([huge, huge])
