"""Which prices can be billed, and how they stand in JSON and in words."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from ams_rating.charging import ChargeRule
from ams_rating.price_json import format_amount, price_from_json, price_to_json
from ams_rating.price_words import describe_charge_rule, describe_price, money
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
from hypothesis import given
from hypothesis import strategies as st

CENT, ZERO = Decimal("0.01"), Decimal(0)
amounts = (
    st.decimals(0, 10**6, places=9) | st.decimals(0, 10, places=2) | st.sampled_from([ZERO, Decimal("1E+3")])
)
tiers = st.lists(st.builds(Tier, st.none() | st.integers(0, 10**12), amounts, amounts), max_size=4).map(tuple)
schemes: st.SearchStrategy[Scheme] = st.one_of(
    st.builds(PerUnit, amounts),
    st.builds(MonthlyFee, amounts),
    st.builds(Packages, st.integers(0, 10**12), amounts),
    st.builds(Graduated, tiers),
    st.builds(Volume, tiers),
)
prices = st.builds(
    Price,
    st.sampled_from(["EUR", "JPY", "KWD", "XXX"]),
    st.lists(st.builds(Component, st.none() | st.sampled_from(Meter), schemes), max_size=3).map(tuple),
    st.builds(ChargeRule, st.booleans(), st.booleans()),
)


def of(*components: Component, currency: str = "EUR") -> Price:
    return Price(currency, components)


def requests(scheme: Scheme) -> Price:
    return of(Component(Meter.REQUESTS, scheme))


def graduated(*steps: Tier) -> Price:
    return requests(Graduated(steps))


@given(prices)
def test_a_price_survives_json(price: Price) -> None:
    assert price_from_json(json.loads(json.dumps(price_to_json(price)))) == price


@given(prices, prices)
def test_equal_prices_have_equal_json_and_others_do_not(one: Price, other: Price) -> None:
    assert (price_to_json(one) == price_to_json(other)) == (one == other)


def test_trailing_zeros_make_no_other_json() -> None:
    assert price_to_json(requests(PerUnit(Decimal("0.10")))) == price_to_json(
        requests(PerUnit(Decimal("0.1")))
    )
    assert price_to_json(requests(PerUnit(Decimal("-0.0")))) == price_to_json(requests(PerUnit(ZERO)))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=30, min_value=-(10**20), max_value=10**20))
def test_amounts_are_written_with_every_digit(amount: Decimal) -> None:
    text = format_amount(amount)
    assert Decimal(text) == amount
    assert "E" not in text and text != "-0" and ("." not in text or text[-1] != "0")


GOOD = price_to_json(
    of(
        Component(Meter.REQUESTS, Graduated((Tier(10, CENT), Tier(None, CENT)))),
        Component(Meter.MEGABYTES, Packages(5, CENT)),
        Component(None, MonthlyFee(CENT)),
    )
)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("currency",), None),
        (("currency",), 5),
        (("components",), {}),
        (("components",), "ab"),
        (("components", 0), None),
        (("components", 0, "meter"), "calls"),
        (("components", 0, "meter"), ["requests"]),
        (("components", 0, "scheme"), "auction"),
        (("components", 0, "scheme"), None),
        (("components", 0, "tiers"), None),
        (("components", 0, "tiers", 0, "up_to"), True),
        (("components", 0, "tiers", 0, "up_to"), "10"),
        (("components", 0, "tiers", 0, "up_to"), 10.5),
        (("components", 0, "tiers", 0, "unit_amount"), 0.01),
        (("components", 0, "tiers", 0, "unit_amount"), "NaN"),
        (("components", 0, "tiers", 0, "flat_amount"), "Infinity"),
        (("components", 1, "size"), 1.5),
        (("components", 1, "amount"), "1e3"),
        (("components", 1, "amount"), " 1"),
        (("components", 2, "amount"), ""),
        (("charge_rule",), None),
        (("charge_rule", "is_client_error_free"), "false"),
        (("charge_rule", "is_abandoned_free"), 1),
    ],
)
def test_json_that_only_looks_like_a_price_is_refused(path: tuple[str | int, ...], value: object) -> None:
    data: Any = json.loads(json.dumps(GOOD))
    assert price_from_json(data)
    part = data
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    with pytest.raises(ValueError, match="not a price"):
        price_from_json(data)


@pytest.mark.parametrize(
    "path", [("currency",), ("components",), ("charge_rule",), ("components", 1, "size")]
)
def test_json_without_a_part_is_no_price(path: tuple[str | int, ...]) -> None:
    data: Any = json.loads(json.dumps(GOOD))
    part = data
    for step in path[:-1]:
        part = part[step]
    del part[path[-1]]
    with pytest.raises(ValueError, match="not a price"):
        price_from_json(data)


PER_UNIT = Component(Meter.REQUESTS, PerUnit(CENT))
FEE = Component(None, MonthlyFee(CENT))


@pytest.mark.parametrize(
    ("price", "where"),
    [
        (of(currency="EURO"), "currency_code"),
        (of(currency="XAU"), "currency_code"),
        (of(currency="eur"), "currency_code"),
        (of(*[PER_UNIT] * 11), "components"),
        (of(FEE, PER_UNIT, FEE), "components[2]"),
        (of(replace(FEE, meter=Meter.REQUESTS)), "components[0].meter"),
        (of(replace(PER_UNIT, meter=None)), "components[0].meter"),
        (requests(PerUnit(-CENT)), "components[0].per_unit.amount"),
        (requests(PerUnit(Decimal(1_000_001))), "components[0].per_unit.amount"),
        (requests(PerUnit(Decimal("0.0000000001"))), "components[0].per_unit.amount"),
        (requests(PerUnit(Decimal("1E-999999"))), "components[0].per_unit.amount"),
        (requests(PerUnit(Decimal("NaN"))), "components[0].per_unit.amount"),
        (requests(PerUnit(Decimal("sNaN"))), "components[0].per_unit.amount"),
        (requests(PerUnit(Decimal("Infinity"))), "components[0].per_unit.amount"),
        (of(Component(None, MonthlyFee(-CENT))), "components[0].monthly_fee.amount"),
        (requests(Packages(0, CENT)), "components[0].packages.size"),
        (requests(Packages(10**12 + 1, CENT)), "components[0].packages.size"),
        (requests(Packages(10, -CENT)), "components[0].packages.amount"),
        (graduated(), "components[0].graduated.tiers"),
        (
            graduated(*[Tier(end, CENT) for end in range(1, 21)], Tier(None, CENT)),
            "components[0].graduated.tiers",
        ),
        (graduated(Tier(10, CENT)), "components[0].graduated.tiers[0].up_to"),
        (graduated(Tier(None, CENT), Tier(None, CENT)), "components[0].graduated.tiers[0].up_to"),
        (graduated(Tier(0, CENT), Tier(None, CENT)), "components[0].graduated.tiers[0].up_to"),
        (graduated(Tier(5, CENT), Tier(5, CENT), Tier(None, CENT)), "components[0].graduated.tiers[1].up_to"),
        (graduated(Tier(5, CENT), Tier(4, CENT), Tier(None, CENT)), "components[0].graduated.tiers[1].up_to"),
        (graduated(Tier(10**12 + 1, CENT), Tier(None, CENT)), "components[0].graduated.tiers[0].up_to"),
        (graduated(Tier(None, -CENT)), "components[0].graduated.tiers[0].unit_amount"),
        (graduated(Tier(None, CENT, -CENT)), "components[0].graduated.tiers[0].flat_amount"),
        (requests(Volume((Tier(10, CENT),))), "components[0].volume.tiers[0].up_to"),
    ],
)
def test_what_is_wrong_with_a_price_is_named(price: Price, where: str) -> None:
    assert [problem.where for problem in problems_of(price)] == [where]


def test_everything_that_is_wrong_is_named_at_once() -> None:
    wrong = of(replace(PER_UNIT, meter=None), Component(None, MonthlyFee(-CENT)), currency="?")
    assert len(problems_of(wrong)) == 3


@pytest.mark.parametrize(
    "price",
    [
        of(),
        of(FEE, *[PER_UNIT] * 9, currency="KWD"),
        requests(PerUnit(ZERO)),
        requests(PerUnit(Decimal("0.000000001"))),
        requests(PerUnit(Decimal(1_000_000))),
        graduated(*[Tier(end, CENT) for end in range(1, 20)], Tier(None, ZERO, CENT)),
        requests(Packages(10**12, CENT)),
    ],
)
def test_a_price_at_its_bounds_is_good(price: Price) -> None:
    assert problems_of(price) == []


STEPS = (Tier(1000, ZERO), Tier(10_000, CENT), Tier(None, Decimal("0.005")))


@pytest.mark.parametrize(
    ("price", "words"),
    [
        (of(), ["Free"]),
        (of(PER_UNIT, FEE), ["EUR 0.01 per request", "EUR 0.01 for each month with use"]),
        (requests(PerUnit(ZERO)), ["Requests: free"]),
        (requests(PerUnit(Decimal("0.00025"))), ["EUR 0.00025 per request"]),
        (of(Component(Meter.EXECUTIONS, PerUnit(Decimal(3))), currency="JPY"), ["JPY 3 per execution"]),
        (
            of(Component(Meter.MEGABYTES, PerUnit(Decimal("0.05"))), currency="KWD"),
            ["KWD 0.050 per MB of data"],
        ),
        (of(Component(Meter.RESPONSE_MEGABYTES, PerUnit(CENT))), ["EUR 0.01 per MB of response data"]),
        (of(Component(Meter.REQUEST_MEGABYTES, PerUnit(CENT))), ["EUR 0.01 per MB of request data"]),
        (requests(Packages(1000, Decimal(1500))), ["EUR 1,500.00 for each 1,000 requests, or part of them"]),
        (
            of(Component(Meter.MEGABYTES, Packages(1, CENT))),
            ["EUR 0.01 for each MB of data, or part of one"],
        ),
        (
            graduated(*STEPS),
            ["Requests: the first 1,000 free, then EUR 0.01 each up to 10,000, then EUR 0.005 each"],
        ),
        (
            graduated(Tier(1000, CENT, Decimal(5)), Tier(None, ZERO)),
            ["Requests: EUR 5.00 once plus EUR 0.01 each for the first 1,000, then free"],
        ),
        (graduated(Tier(None, ZERO, Decimal(5))), ["Requests: EUR 5.00 once"]),
        (
            requests(Volume(STEPS)),
            [
                "All requests of a month at one price: free if up to 1,000, EUR 0.01 each if up to 10,000, "
                "EUR 0.005 each if more"
            ],
        ),
        (requests(Volume((Tier(None, CENT),))), ["Requests: EUR 0.01 each"]),
    ],
)
def test_a_price_is_said_in_words(price: Price, words: list[str]) -> None:
    assert describe_price(price) == words


def test_what_is_not_charged_is_said_in_words() -> None:
    assert describe_charge_rule(of()) == [
        "Not charged: answers with 5xx, calls that the upstream didn't answer, and whatever AMS refused.",
        "Charged: answers with 4xx.",
        "Charged: calls that the caller gave up before the answer began.",
    ]
    assert describe_charge_rule(replace(of(), charge_rule=ChargeRule(True, True)))[1:] == [
        "Not charged: answers with 4xx.",
        "Not charged: calls that the caller gave up before the answer began.",
    ]


@pytest.mark.parametrize(
    ("amount", "currency", "words"),
    [
        ("5", "EUR", "EUR 5.00"),
        ("1234567.5", "EUR", "EUR 1,234,567.50"),
        ("0.002", "EUR", "EUR 0.002"),
        ("1E+3", "JPY", "JPY 1,000"),
        ("0.5", "JPY", "JPY 0.5"),
        ("5", "KWD", "KWD 5.000"),
        ("-1.5", "EUR", "EUR -1.50"),
        ("12345678901234567890123456789.123", "EUR", "EUR 12,345,678,901,234,567,890,123,456,789.123"),
    ],
)
def test_money_has_the_currencys_decimals_and_more_where_needed(
    amount: str, currency: str, words: str
) -> None:
    assert money(Decimal(amount), currency) == words
