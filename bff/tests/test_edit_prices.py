"""A price as a form: parts and tiers come and go, and what was typed stays."""

import pytest
from ams.catalog.v1 import pricing_pb2 as pb
from ams_bff.ui.forms import Form
from ams_bff.views import price_forms
from ams_common.errors import FieldViolation, InvalidArgumentError
from ams_common.prices import price_from_message, price_message
from ams_rating import prices
from ams_rating.charging import ChargeRule
from ams_rating.currencies import MINOR_UNIT_DIGITS
from hypothesis import given
from hypothesis import strategies as st

AMOUNTS = st.decimals(0, prices.MAX_AMOUNT, places=prices.MAX_DECIMALS)
METERS = st.sampled_from(prices.Meter)


@st.composite
def tiers(draw: st.DrawFn) -> tuple[prices.Tier, ...]:
    borders = sorted(draw(st.sets(st.integers(1, prices.MAX_UNITS), max_size=prices.MAX_TIERS - 1)))
    return tuple(prices.Tier(border, draw(AMOUNTS), draw(AMOUNTS)) for border in [*borders, None])


COMPONENTS = st.one_of(
    st.builds(prices.Component, METERS, st.builds(prices.PerUnit, AMOUNTS)),
    st.builds(prices.Component, METERS, st.builds(prices.Graduated, tiers())),
    st.builds(prices.Component, METERS, st.builds(prices.Volume, tiers())),
    st.builds(prices.Component, METERS, st.builds(prices.Packages, st.integers(1, 10**12), AMOUNTS)),
)
PRICES = st.builds(
    prices.Price,
    st.sampled_from(sorted(MINOR_UNIT_DIGITS)),
    st.lists(COMPONENTS, max_size=4).map(tuple),
    st.builds(ChargeRule, st.booleans(), st.booleans()),
)


def pressed(form: Form, intent: str) -> Form:
    """The form after one of its buttons."""
    form.values["intent"] = [intent]
    assert price_forms.edit(form)
    return form


def tiered(scheme: str = "graduated") -> Form:
    """A form with two tiers, filled in."""
    form = pressed(Form.starting(**price_forms.starting_values()), "drop:0")
    pressed(form, f"add:{scheme}")
    at = f"price.components.0.{scheme}.tiers"
    form.values |= {
        f"{at}.0.up_to": ["1000"],
        f"{at}.0.unit_amount": ["0"],
        f"{at}.1.unit_amount": ["0,02"],
        f"{at}.1.flat_amount": ["3"],
    }
    return form


@given(PRICES)
def test_every_price_comes_back_from_its_form_as_it_was(price: prices.Price) -> None:
    message = price_message(price)
    form = Form.starting(**price_forms.starting_values(message))
    assert price_from_message(price_forms.price_of(form)) == price
    assert not form.errors


def test_a_new_form_has_a_price_per_request_that_needs_an_amount() -> None:
    form = Form.starting(**price_forms.starting_values())
    assert [(part.scheme, part.meter) for part in price_forms.parts_of(form)] == [("per_unit", "REQUESTS")]
    price_forms.price_of(form)
    assert form.errors == {"price.components.0.per_unit.amount": "is required"}


def test_a_form_without_parts_is_a_free_price() -> None:
    form = pressed(Form.starting(**price_forms.starting_values()), "drop:0")
    assert price_forms.price_of(form) == pb.Price(currency_code="EUR", charge_rule=pb.ChargeRule())
    assert not form.errors


def test_a_part_that_goes_takes_only_its_own_with_it() -> None:
    form = tiered()
    pressed(form, "add:monthly_fee")
    form.values["price.components.1.monthly_fee.amount"] = ["5"]
    pressed(form, "drop:0")
    [fee] = price_forms.price_of(form).components
    assert fee.monthly_fee.amount.units == 5


def test_there_is_one_monthly_fee_at_most() -> None:
    form = pressed(Form.starting(**price_forms.starting_values()), "add:monthly_fee")
    pressed(form, "add:monthly_fee")
    assert [part.scheme for part in price_forms.parts_of(form)] == ["per_unit", "monthly_fee"]
    assert "monthly_fee" not in dict(price_forms.editor_context(form)["schemes"])


def test_another_tier_is_the_last_and_the_one_before_needs_a_border() -> None:
    form = pressed(tiered(), "tier:0")
    assert len(price_forms.parts_of(form)[0].tiers) == 3
    price_forms.price_of(form)
    assert set(form.errors) == {
        "price.components.0.graduated.tiers.1.up_to",
        "price.components.0.graduated.tiers.2.unit_amount",
    }


def test_without_its_last_tier_the_one_before_has_no_end() -> None:
    form = pressed(tiered("volume"), "untier:0:1")
    [component] = price_forms.price_of(form).components
    assert [(tier.up_to, tier.unit_amount.nanos) for tier in component.volume.tiers] == [(0, 0)]


@pytest.mark.parametrize("intent", ["", "save", "addx", "delete:0"])
def test_other_buttons_change_no_part(intent: str) -> None:
    form = tiered()
    before = dict(form.values)
    form.values["intent"] = [intent]
    assert not price_forms.edit(form)
    assert price_forms.parts_of(Form(before)) == price_forms.parts_of(form)


@pytest.mark.parametrize(
    "intent", ["add:", "add:evil", "drop:9", "drop:x", "tier:7", "untier:0", "untier:0:9"]
)
def test_a_button_that_there_is_not_changes_nothing(intent: str) -> None:
    form = tiered()
    before = price_forms.parts_of(form)
    assert price_forms.parts_of(pressed(form, intent)) == before


def test_parts_and_tiers_end_where_the_contract_does() -> None:
    form = tiered()
    for _ in range(30):
        pressed(form, "tier:0")
        pressed(form, "add:per_unit")
    parts = price_forms.parts_of(form)
    assert (len(parts), len(parts[0].tiers)) == (10, 20)


def test_what_a_service_refuses_stands_at_its_own_control() -> None:
    form = tiered()
    where = "price.components[0].graduated.tiers[0].upTo"
    violations = [FieldViolation(where, "must be lower"), FieldViolation("serviceIds[1]", "is unknown")]
    form.refused(InvalidArgumentError("price_invalid", "", violations))
    assert form.errors == {
        "price.components.0.graduated.tiers.0.up_to": "must be lower",
        "service_ids": "is unknown",
    }


def test_the_example_month_is_bounded_and_takes_no_nonsense() -> None:
    typed = {
        "example.requests": "1,000",
        "example.client_errors": "9999",
        "example.request_megabytes": "-1",
        "example.response_megabytes": "9" * 15,
        "example.executions": "many",
    }
    quantities = price_forms.quantities_of(Form.starting(**typed))
    assert (quantities.served, quantities.client_errors, quantities.executions) == (0, 1000, 0)
    assert (quantities.request_bytes, quantities.response_bytes) == (0, 10**15)
