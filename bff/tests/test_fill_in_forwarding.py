"""How calls are forwarded: typed, stored and told alike; and amounts and times in words."""

import pytest
from ams.catalog.v1.forwarding_pb2 import ForwardingSettings
from ams_bff.ui import amounts, formats
from ams_bff.ui.forms import Form
from ams_bff.ui.forwarding import DEFAULTS, in_force
from ams_bff.views.forwarding_forms import settings_of, starting_values
from ams_bff.views.spend_caps import cap_form, cap_of
from google.type.money_pb2 import Money
from hypothesis import given
from hypothesis import strategies as st

SETTINGS = st.builds(
    ForwardingSettings,
    first_byte_timeout_s=st.integers(0, 300),
    idle_timeout_s=st.integers(0, 3600),
    total_timeout_s=st.integers(0, 86400),
    max_connections=st.integers(0, 10000),
    passes_cookies=st.booleans(),
    cors_origins=st.lists(st.integers(1, 99).map("https://app{}.example".format), max_size=20),
    allows_websockets=st.booleans(),
    shows_costs=st.booleans(),
    quota_per_day=st.integers(0, 10**9),
    quota_per_month=st.integers(0, 2 * 10**9),
)


@given(SETTINGS)
def test_a_form_that_is_sent_as_it_came_changes_nothing(settings: ForwardingSettings) -> None:
    form = Form.starting(**starting_values(settings))
    assert settings_of(form) == settings
    assert not form.errors


@given(SETTINGS)
def test_what_is_set_is_in_force_and_the_rest_is_the_platforms(settings: ForwardingSettings) -> None:
    shown = in_force(settings)
    for name in DEFAULTS.DESCRIPTOR.fields_by_name:
        value = getattr(settings, name)
        assert getattr(shown, name) == (value or getattr(DEFAULTS, name)), name


def test_what_is_no_number_within_its_bounds_is_told_at_its_field() -> None:
    form = Form.starting(
        **{"forwarding.first_byte_timeout_s": "301", "forwarding.quota_per_day": "many"},
    )
    settings_of(form)
    assert set(form.errors) == {"forwarding.first_byte_timeout_s", "forwarding.quota_per_day"}


def test_origins_may_stand_in_lines_or_between_commas() -> None:
    form = Form.starting(
        **{"forwarding.cors_origins": " https://A.example,\r\nhttp://b.example:8080 , ,https://c.example\n"}
    )
    origins = ["https://a.example", "http://b.example:8080", "https://c.example"]
    assert list(settings_of(form).cors_origins) == origins


def test_a_switch_that_nobody_knows_switches_nothing() -> None:
    form = Form.starting(**{"forwarding.switches": ["max_connections", "x", "shows_costs"]})
    assert settings_of(form) == ForwardingSettings(shows_costs=True)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (60, "1 minute"),
        (90, "90 seconds"),
        (300, "5 minutes"),
        (3600, "1 hour"),
    ],
)
def test_lengths_of_time_are_in_their_largest_whole_unit(seconds: int, words: str) -> None:
    assert formats.duration(seconds) == words


@pytest.mark.parametrize("text", ["50", "12.5", "0,01", "0"])
def test_a_cap_is_shown_as_it_was_typed(text: str) -> None:
    form = Form.starting(**{"spend_cap.amount": text, "spend_cap.currency_code": "CHF"})
    cap = cap_of(form)
    assert cap is not None
    again = cap_form(cap)
    assert (again["spend_cap.amount"], again["spend_cap.currency_code"]) == (text.replace(",", "."), "CHF")


@pytest.mark.parametrize(("text", "currency"), [("", "EUR"), ("lots", "EUR"), ("-1", "EUR"), ("1", "XXX")])
def test_a_cap_that_is_none_is_an_error_of_its_field(text: str, currency: str) -> None:
    form = Form.starting(**{"spend_cap.amount": text, "spend_cap.currency_code": currency})
    assert cap_of(form) is None
    assert set(form.errors) == {"spend_cap.amount"}


def test_an_amount_keeps_its_decimals_however_large_it_is() -> None:
    assert amounts.typed(Money(currency_code="EUR", units=1_000_000)) == "1000000"
    assert amounts.typed(Money(currency_code="EUR", units=5, nanos=1)) == "5.000000001"
