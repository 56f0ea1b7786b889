"""docs/billing.md says what the rules do: each price and example of its tables is recomputed."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from ams_rating.charging import ChargeClass, ChargeRule
from ams_rating.price_words import describe_price, money
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
    problems_of,
)
from ams_rating.rate import Counts, RatedComponent, charged_counts, rate, total_of

PAGE = (Path(__file__).parents[2] / "docs/billing.md").read_text()


def table(headings: str) -> list[list[str]]:
    """The rows of the page's first table whose headings begin so."""
    _, rows = PAGE.split(f"\n| {headings} |", 1)
    lines = rows.split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]


def d(amount: str) -> Decimal:
    return Decimal(amount)


def price(meter: Meter | None, scheme: Scheme, currency: str = "EUR") -> Price:
    return Price(currency, (Component(meter, scheme),))


CENT = price(Meter.REQUESTS, PerUnit(d("0.01")))
COMBINED = Price(
    "EUR",
    (
        Component(None, MonthlyFee(d("20"))),
        Component(Meter.REQUESTS, Graduated((Tier(500, d("0")), Tier(None, d("0.03"))))),
        Component(Meter.RESPONSE_MEGABYTES, PerUnit(d("0.08"))),
    ),
)
PRICES = {
    "Per request": price(Meter.REQUESTS, PerUnit(d("0.002"))),
    "Per request, in yen": price(Meter.REQUESTS, PerUnit(d("0.5")), "JPY"),
    "Per request, in dinars": price(Meter.REQUESTS, PerUnit(d("0.0005")), "KWD"),
    "Half cents": price(Meter.REQUESTS, PerUnit(d("0.005"))),
    "Per megabyte": price(Meter.MEGABYTES, PerUnit(d("0.05"))),
    "Per execution": price(Meter.EXECUTIONS, PerUnit(d("1.5"))),
    "Graduated": price(
        Meter.REQUESTS, Graduated((Tier(1000, d("0")), Tier(10_000, d("0.01")), Tier(None, d("0.005"))))
    ),
    "Volume": price(
        Meter.REQUESTS, Volume((Tier(1000, d("0.02")), Tier(10_000, d("0.01")), Tier(None, d("0.005"))))
    ),
    "Graduated with a step": price(
        Meter.REQUESTS, Graduated((Tier(100, d("0.1")), Tier(None, d("0.05"), d("20"))))
    ),
    "Volume by megabyte": price(Meter.RESPONSE_MEGABYTES, Volume((Tier(10, d("1")), Tier(None, d("0.5"))))),
    "Packages": price(Meter.REQUESTS, Packages(1000, d("10"))),
    "Packages of megabytes": price(Meter.MEGABYTES, Packages(100, d("4"))),
    "Monthly": price(None, MonthlyFee(d("49"))),
    "Combined": COMBINED,
    "Errors are free": Price(
        "EUR", CENT.components, ChargeRule(is_client_error_free=True, is_abandoned_free=True)
    ),
    "Errors are charged": CENT,
    "Free": Price("EUR"),
}
FIGURES = {
    "request": (ChargeClass.SERVED, "requests"),
    "request byte": (ChargeClass.SERVED, "request_bytes"),
    "response byte": (ChargeClass.SERVED, "response_bytes"),
    "execution": (ChargeClass.SERVED, "requests"),
    "answer with 4xx": (ChargeClass.CLIENT_ERROR, "requests"),
    "abandoned call": (ChargeClass.ABANDONED, "requests"),
    "answer with 5xx": (ChargeClass.UNCHARGED, "requests"),
}


def usage_of(words: str) -> dict[ChargeClass, Counts]:
    """What is meant by "10 requests, 1,000,000 request bytes"."""
    usage: dict[ChargeClass, Counts] = {}
    for part in words.split(", "):
        match = re.fullmatch(r"([0-9,]+) (.+)", part)
        assert match, part
        kind, figure = FIGURES[re.sub(r"s\b", "", match[2])]
        count = Counts(**{figure: int(match[1].replace(",", ""))})
        usage[kind] = usage.get(kind, Counts()).plus(count)
    return usage


def how(price: Price, rated: tuple[RatedComponent, ...]) -> str:
    """The reckoning in one line: "1,000 × 0.00 + 1 × 0.01"."""
    terms = []
    for step in (step for part in rated for step in part.steps):
        unit, flat = (
            money(amount, price.currency).split()[1] for amount in (step.unit_amount, step.flat_amount)
        )
        terms.append(f"{step.quantity:,} × {unit}" + (f" + {flat}" if step.flat_amount else ""))
    return " + ".join(terms)


def test_each_price_stands_on_the_page_in_its_words() -> None:
    assert [name for name, _ in table("price | in words")] == list(PRICES)
    for name, words in table("price | in words"):
        assert problems_of(PRICES[name]) == []
        assert words == "; ".join(describe_price(PRICES[name]))


@pytest.mark.parametrize("row", table("price | used in a month"), ids=lambda row: f"{row[0]}: {row[1]}")
def test_an_example_is_what_an_invoice_would_say(row: list[str]) -> None:
    name, used, reckoning, amount, _ = row
    rated = rate(PRICES[name], charged_counts(PRICES[name], usage_of(used)))
    assert reckoning == how(PRICES[name], rated)
    assert amount == money(total_of(rated), PRICES[name].currency)


@pytest.mark.parametrize("row", table("until the 15th"), ids=lambda row: f"{row[0]}, then {row[3]}")
def test_a_change_within_a_month_is_what_an_invoice_would_say(row: list[str]) -> None:
    before, used_before, amount_before, after, used_after, amount_after = row
    first, second = PRICES[before], PRICES[after]
    counts = charged_counts(first, usage_of(used_before))
    assert amount_before == money(total_of(rate(first, counts)), "EUR")
    rated = rate(second, charged_counts(second, usage_of(used_after)), is_fee_due=counts == Counts())
    assert amount_after == money(total_of(rated), "EUR")


def test_each_model_has_an_example() -> None:
    parts = [part for price in PRICES.values() for part in price.components]
    assert {type(part.scheme) for part in parts} == {PerUnit, Graduated, Volume, Packages, MonthlyFee}
    assert {name for name, *_ in table("price | used in a month")} == set(PRICES)
