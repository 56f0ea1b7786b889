from decimal import Decimal

import pytest
from ams_common.money import to_decimal, to_money
from google.type.money_pb2 import Money
from hypothesis import given
from hypothesis import strategies as st

amounts = st.decimals(min_value=-(10**9), max_value=10**9, places=9, allow_nan=False, allow_infinity=False)


@given(amounts)
def test_an_amount_survives_the_wire(amount: Decimal) -> None:
    assert to_decimal(to_money(amount, "EUR")) == amount


@pytest.mark.parametrize(
    "money",
    [Money(units=1, nanos=-1), Money(units=-1, nanos=1), Money(nanos=1_000_000_000), Money(nanos=-(10**9))],
)
def test_money_that_contradicts_itself_is_refused(money: Money) -> None:
    with pytest.raises(ValueError, match="units and nanos"):
        to_decimal(money)


def test_more_than_nine_decimals_are_refused() -> None:
    with pytest.raises(ValueError, match="nine decimals"):
        to_money(Decimal("0.0000000001"), "EUR")
