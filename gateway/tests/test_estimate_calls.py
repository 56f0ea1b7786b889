"""What a call is estimated to cost: never less than its bill, where the bill is by quantity alone."""

from decimal import Decimal

import pytest
from ams.catalog.v1.pricing_pb2 import Price as PriceMessage
from ams.catalog.v1.pricing_pb2 import PriceComponent
from ams_common.prices import price_message
from ams_gateway.access.call_price import NANOS_PER_UNIT, CallPrice, call_price
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
from ams_rating.rate import Counts, rate
from hypothesis import given
from hypothesis import strategies as st

AMOUNTS = st.decimals(0, 1000, places=9)
METERS = st.sampled_from([Meter.REQUESTS, Meter.MEGABYTES, Meter.REQUEST_MEGABYTES, Meter.RESPONSE_MEGABYTES])


@st.composite
def tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    ends = sorted(draw(st.sets(st.integers(1, 10_000), max_size=4)))
    return tuple(Tier(end, draw(AMOUNTS)) for end in [*ends, None])


SCHEMES = st.one_of(st.builds(PerUnit, AMOUNTS), st.builds(Graduated, tiers()), st.builds(Volume, tiers()))
COMPONENTS = st.lists(st.builds(Component, METERS, SCHEMES), max_size=4)


@given(COMPONENTS, st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)), max_size=30))
def test_calls_are_estimated_at_no_less_than_they_are_billed(
    components: list[Component], calls: list[tuple[int, int]]
) -> None:
    price = Price("EUR", tuple(components))
    estimated = call_price(price_message(price))
    counts = Counts(len(calls), sum(sent for sent, _ in calls), sum(got for _, got in calls))
    billed = sum((step.amount for part in rate(price, counts) for step in part.steps), Decimal(0))
    nanos = sum(estimated.nanos(*sizes) for sizes in calls)
    assert nanos >= billed * NANOS_PER_UNIT
    assert all(estimated.nanos(*sizes) >= estimated.least_nanos for sizes in calls)


@pytest.mark.parametrize(
    ("meter", "scheme", "expected"),
    [
        (Meter.REQUESTS, PerUnit(Decimal("0.002")), (2_000_000, 0, 0)),
        (Meter.REQUESTS, Packages(1000, Decimal(5)), (5_000_000, 0, 0)),
        (Meter.REQUESTS, Packages(3, Decimal(1)), (333_333_334, 0, 0)),
        (Meter.MEGABYTES, PerUnit(Decimal("0.01")), (0, 10_000_000, 10_000_000)),
        (Meter.REQUEST_MEGABYTES, PerUnit(Decimal(1)), (0, NANOS_PER_UNIT, 0)),
        (Meter.RESPONSE_MEGABYTES, PerUnit(Decimal(1)), (0, 0, NANOS_PER_UNIT)),
        (
            Meter.REQUESTS,
            Graduated((Tier(1000, Decimal(0)), Tier(None, Decimal("0.004"), Decimal(99)))),
            (4_000_000, 0, 0),
        ),
        (Meter.REQUESTS, Volume((Tier(10, Decimal(2)), Tier(None, Decimal(1)))), (2 * NANOS_PER_UNIT, 0, 0)),
        (Meter.EXECUTIONS, PerUnit(Decimal(1)), (0, 0, 0)),
        (None, MonthlyFee(Decimal(50)), (0, 0, 0)),
    ],
)
def test_a_unit_costs_what_it_does_at_most_and_what_is_due_once_is_no_calls(
    meter: Meter | None, scheme: Scheme, expected: tuple[int, int, int]
) -> None:
    found = call_price(price_message(Price("EUR", (Component(meter, scheme),))))
    assert found == CallPrice("EUR", *expected)


def test_components_add_up_and_every_begun_nano_counts() -> None:
    found = call_price(
        price_message(
            Price(
                "JPY",
                (
                    Component(Meter.REQUESTS, PerUnit(Decimal("0.000000001"))),
                    Component(Meter.MEGABYTES, PerUnit(Decimal("0.000000001"))),
                ),
            )
        )
    )
    assert (found.currency, found.least_nanos) == ("JPY", 1)
    assert [found.nanos(size, 0) for size in (0, 1, 1_000_000, 1_000_001)] == [1, 2, 2, 3]


def test_a_price_that_cannot_be_read_is_estimated_as_nothing() -> None:
    unknown = PriceMessage(currency_code="EUR", components=[PriceComponent(meter=99)])  # type: ignore[arg-type]
    for message in (unknown, PriceMessage()):
        assert call_price(message) == CallPrice()
