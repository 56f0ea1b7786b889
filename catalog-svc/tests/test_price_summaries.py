"""What a price comes to in a typical month is what it would be billed."""

from decimal import Decimal

import pytest
from ams_rating.charging import ChargeClass
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
from ams_rating.rate import charged_counts, rate, total_of
from catalog_svc.messages import PRICE_MODELS
from catalog_svc.price_summaries import TYPICAL_MONTH, summary_of
from hypothesis import given
from hypothesis import strategies as st

_TIERS = (Tier(1_000, Decimal("0.01")), Tier(None, Decimal("0.002"), Decimal(3)))


@pytest.mark.parametrize(
    ("components", "amount", "models"),
    [
        ([], "0", ["free"]),
        ([Component(Meter.REQUESTS, PerUnit(Decimal("0.002")))], "20", ["per_request"]),
        ([Component(Meter.MEGABYTES, PerUnit(Decimal("0.5")))], "10", ["per_megabyte"]),
        ([Component(Meter.REQUEST_MEGABYTES, PerUnit(Decimal("0.5")))], "5", ["per_megabyte"]),
        ([Component(Meter.EXECUTIONS, PerUnit(Decimal("0.01")))], "100", ["per_execution"]),
        ([Component(Meter.REQUESTS, Graduated(_TIERS))], "31", ["tiered"]),
        ([Component(Meter.REQUESTS, Volume(_TIERS))], "23", ["tiered"]),
        ([Component(Meter.REQUESTS, Packages(3_000, Decimal(2)))], "8", ["packages"]),
        (
            [Component(None, MonthlyFee(Decimal(9))), Component(Meter.REQUESTS, PerUnit(Decimal("0.001")))],
            "19",
            ["monthly_fee", "per_request"],
        ),
    ],
)
def test_a_price_is_one_figure_and_the_words_for_its_parts(
    components: list[Component], amount: str, models: list[str]
) -> None:
    summary = summary_of(Price("EUR", tuple(components)))
    assert (summary.currency, summary.amount, list(summary.models)) == ("EUR", Decimal(amount), models)


_AMOUNTS = st.decimals(0, 1_000, places=9)
_SCHEMES: st.SearchStrategy[Scheme] = st.one_of(
    st.builds(PerUnit, _AMOUNTS), st.builds(Packages, st.integers(1, 100_000), _AMOUNTS)
)
_COMPONENTS = st.builds(Component, st.sampled_from(Meter), _SCHEMES)


@given(
    st.builds(Price, st.sampled_from(["EUR", "USD", "JPY"]), st.lists(_COMPONENTS, max_size=10).map(tuple))
)
def test_it_is_what_billing_rates_and_the_contract_has_a_word_for_each_model(price: Price) -> None:
    summary = summary_of(price)
    billed = rate(price, charged_counts(price, {ChargeClass.SERVED: TYPICAL_MONTH}))
    assert summary.amount == total_of(billed)
    assert summary.models
    assert set(summary.models) <= PRICE_MODELS.keys()
