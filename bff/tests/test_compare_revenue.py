"""Revenue against the month before."""

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams_bff.views.merchant_overview import revenue_change
from google.type.money_pb2 import Money


def revenue(*gross: tuple[str, int]) -> pb.GetMerchantRevenueResponse:
    totals = [pb.RevenueTotal(gross=Money(currency_code=code, units=units)) for code, units in gross]
    return pb.GetMerchantRevenueResponse(totals=totals)


def test_revenue_is_compared_as_a_fraction_of_the_month_before() -> None:
    assert revenue_change(revenue(("EUR", 150)), revenue(("EUR", 100))) == pytest.approx(0.5)
    assert revenue_change(revenue(("EUR", 25)), revenue(("EUR", 100))) == pytest.approx(-0.75)


def test_what_cannot_be_compared_is_not() -> None:
    euro, yen = ("EUR", 10), ("JPY", 10)
    for now, before in (
        (revenue(euro), revenue()),
        (revenue(), revenue(euro)),
        (revenue(euro), revenue(("EUR", 0))),
        (revenue(euro), revenue(yen)),
        (revenue(euro, yen), revenue(euro)),
    ):
        assert revenue_change(now, before) is None
