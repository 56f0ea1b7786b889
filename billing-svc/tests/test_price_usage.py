"""The pure rules of money: exact, rounded once, half-even, whatever the order."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from random import Random
from uuid import UUID

import pytest
from ams_common.money import MINOR_UNIT_DIGITS
from billing_svc.commission import CommissionRate, commission_of, format_rate, parse_rate, rate_for, total_of
from billing_svc.invoices import Usage, draft_invoices, draft_lines, totals_by_currency
from billing_svc.pricing import PriceVersion, line_amount, sum_exactly
from hypothesis import given
from hypothesis import strategies as st

CURRENCIES = st.sampled_from(sorted(MINOR_UNIT_DIGITS))
# All that NUMERIC(19, 9) and a 64-bit counter can hold.
PRICES = st.integers(0, 10**19 - 1).map(lambda nanos: Decimal(nanos).scaleb(-9, Context(prec=40)))
QUANTITIES = st.integers(0, 2**63 - 1)
RATES = st.integers(0, 10**6 - 1).map(lambda millionths: Decimal(millionths).scaleb(-6))
STARTS_AT = datetime(2026, 1, 1, tzinfo=UTC)


def half_even(exact: Fraction, currency: str) -> Fraction:
    """The definition, in whole minor units: Python rounds a Fraction to the nearest, ties to even."""
    scale = 10 ** MINOR_UNIT_DIGITS[currency]
    return Fraction(round(exact * scale), scale)


@given(QUANTITIES, PRICES, CURRENCIES)
def test_an_amount_is_the_exact_product_rounded_once_half_even(
    quantity: int, unit_price: Decimal, currency: str
) -> None:
    amount = line_amount(quantity, unit_price, currency)
    assert type(amount) is Decimal
    assert Fraction(amount) == half_even(quantity * Fraction(unit_price), currency)
    assert -int(amount.as_tuple().exponent) == MINOR_UNIT_DIGITS[currency]


@pytest.mark.parametrize(
    ("quantity", "unit_price", "currency", "amount"),
    [
        (1, "0.125", "EUR", "0.12"),
        (1, "0.135", "EUR", "0.14"),
        (1, "0.125000001", "EUR", "0.13"),
        (3, "0.005", "EUR", "0.02"),
        (1, "2.5", "JPY", "2"),
        (1, "3.5", "JPY", "4"),
        (9_223_372_036_854_775_807, "9999999999.999999999", "USD", "92233720368547758060776627963.15"),
    ],
)
def test_amounts_worked_by_hand(quantity: int, unit_price: str, currency: str, amount: str) -> None:
    assert str(line_amount(quantity, Decimal(unit_price), currency)) == amount


@given(st.integers(0, 10**28), RATES, CURRENCIES)
def test_commission_is_half_even_and_the_total_leaves_nothing_over(
    minor_units: int, rate: Decimal, currency: str
) -> None:
    subtotal = Decimal(minor_units).scaleb(-MINOR_UNIT_DIGITS[currency], Context(prec=40))
    commission = commission_of(subtotal, rate, currency)
    total = total_of(subtotal, commission)
    assert Fraction(commission) == half_even(Fraction(subtotal) * Fraction(rate), currency)
    assert Fraction(commission) + Fraction(total) == Fraction(subtotal)
    assert 0 <= commission <= subtotal
    assert type(total) is Decimal


@st.composite
def usages(draw: st.DrawFn) -> list[Usage]:
    """Counters of few parties and services, each service version with one price."""
    price_list = draw(st.lists(st.tuples(PRICES, CURRENCIES), min_size=1, max_size=5))
    prices = [
        PriceVersion(UUID(int=i), currency, price, STARTS_AT)
        for i, (price, currency) in enumerate(price_list)
    ]
    keys = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, len(prices) - 1))
    counters = draw(st.dictionaries(keys, QUANTITIES, max_size=20))
    return [
        Usage(
            merchant_id=UUID(int=merchant),
            consumer_id=UUID(int=consumer),
            service_id=UUID(int=version // 2),
            price_version_id=prices[version].price_version_id,
            quantity=quantity,
            service_name=f"service {version // 2}",
            price=prices[version],
        )
        for (merchant, consumer, version), quantity in counters.items()
    ]


@given(usages(), RATES, st.randoms())
def test_drafts_are_the_sums_of_their_lines_in_any_order(
    given_usages: list[Usage], rate: Decimal, random: Random
) -> None:
    drafts = draft_invoices(given_usages, rate)
    for draft in drafts:
        assert draft.lines
        assert Fraction(draft.subtotal) == sum(Fraction(line.amount) for line in draft.lines)
        assert Fraction(draft.subtotal) - Fraction(draft.commission) == Fraction(draft.total)
        assert all(line.currency == draft.key.currency and line.quantity > 0 for line in draft.lines)
    assert sum(len(draft.lines) for draft in drafts) == sum(usage.quantity > 0 for usage in given_usages)
    assert len({draft.key for draft in drafts}) == len(drafts)
    shuffled = list(given_usages)
    random.shuffle(shuffled)
    assert draft_invoices(shuffled, rate) == drafts


@given(usages())
def test_what_a_consumer_has_spent_is_what_the_invoices_will_say(given_usages: list[Usage]) -> None:
    spent = totals_by_currency(draft_lines(given_usages))
    billed: dict[str, Fraction] = {}
    for draft in draft_invoices(given_usages, Decimal(0)):
        currency = draft.key.currency
        billed[currency] = billed.get(currency, Fraction(0)) + Fraction(draft.subtotal)
    assert {currency: Fraction(total) for currency, total in spent.items()} == billed


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
