"""Prices between messages and the rules that rate them."""

from decimal import Decimal

import pytest
from ams.catalog.v1 import pricing_pb2 as pb
from ams_common.prices import PriceError, price_from_message, price_message
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
from google.type.money_pb2 import Money
from hypothesis import given
from hypothesis import strategies as st

amounts = st.decimals(0, 10**6, places=9)


@st.composite
def tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    ends = sorted(draw(st.sets(st.integers(1, 10**12), max_size=4)))
    return tuple(Tier(end, draw(amounts), draw(amounts)) for end in (*ends, None))


schemes: st.SearchStrategy[Scheme] = st.one_of(
    st.builds(PerUnit, amounts),
    st.builds(Packages, st.integers(1, 10**12), amounts),
    st.builds(Graduated, tiers()),
    st.builds(Volume, tiers()),
)
prices = st.builds(
    lambda currency, parts, fees, rule: Price(currency, (*parts, *fees), rule),
    st.sampled_from(["EUR", "JPY", "KWD"]),
    st.lists(st.builds(Component, st.sampled_from(Meter), schemes), max_size=4),
    st.lists(st.builds(Component, st.none(), st.builds(MonthlyFee, amounts)), max_size=1),
    st.builds(ChargeRule, st.booleans(), st.booleans()),
)


def one_part(**scheme: object) -> pb.Price:
    part = pb.PriceComponent(meter=pb.REQUESTS, **scheme)  # type: ignore[arg-type]
    return pb.Price(currency_code="EUR", components=[part])


@given(prices)
def test_a_price_survives_the_wire(price: Price) -> None:
    message = pb.Price.FromString(price_message(price).SerializeToString())
    assert price_from_message(message) == price


def test_a_tier_needs_no_amount_that_is_zero() -> None:
    message = one_part(
        graduated=pb.GraduatedTiers(tiers=[pb.Tier(up_to=10), pb.Tier(unit_amount=Money(units=1))])
    )
    (part,) = price_from_message(message).components
    assert part.scheme == Graduated((Tier(10, Decimal(0)), Tier(None, Decimal(1))))


@pytest.mark.parametrize(
    ("message", "where", "description"),
    [
        (pb.Price(currency_code="EURO"), "currency_code", "must be a currency of ISO 4217"),
        (one_part(), "components[0]", "needs a scheme"),
        (
            one_part(per_unit=pb.PerUnit(amount=Money(units=-1))),
            "components[0].per_unit.amount",
            "must be from 0",
        ),
        (
            one_part(per_unit=pb.PerUnit(amount=Money(units=1, nanos=-1))),
            "components[0].per_unit.amount",
            "units and nanos must agree in sign",
        ),
        (
            one_part(per_unit=pb.PerUnit(amount=Money(currency_code="USD", units=1))),
            "components[0].per_unit.amount",
            "must be in the price's currency",
        ),
        (
            one_part(volume=pb.VolumeTiers(tiers=[pb.Tier(up_to=5, flat_amount=Money(currency_code="USD"))])),
            "components[0].volume.tiers[0].flat_amount",
            "must be in the price's currency",
        ),
        (
            one_part(monthly_fee=pb.MonthlyFee(amount=Money(units=1))),
            "components[0].meter",
            "must not be set: a monthly fee counts nothing",
        ),
        (
            pb.Price(
                currency_code="EUR",
                components=[pb.PriceComponent(per_unit=pb.PerUnit(amount=Money(units=1)))],
            ),
            "components[0].meter",
            "must say what is counted",
        ),
    ],
)
def test_a_message_that_is_no_price_says_where_and_why(
    message: pb.Price, where: str, description: str
) -> None:
    with pytest.raises(PriceError) as raised:
        price_from_message(message)
    assert any(
        each.where == where and each.description.startswith(description) for each in raised.value.problems
    )


def test_a_meter_of_a_newer_release_is_refused() -> None:
    message = one_part(per_unit=pb.PerUnit(amount=Money(units=1)))
    message.components[0].meter = 99  # type: ignore[assignment]
    with pytest.raises(PriceError, match=r"components\[0\].meter is not known"):
        price_from_message(message)
