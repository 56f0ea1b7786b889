"""How many there were, day by day, and against the period before."""

from datetime import UTC, datetime, timedelta

import pytest
from ams_bff.usage.figures import SHOWN_DAYS, Lifetime, change_of_sums, gauge
from google.type.money_pb2 import Money

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def test_what_ends_is_counted_until_then() -> None:
    lifetimes: list[Lifetime] = [(ago(90), None), (ago(90), ago(10)), (ago(5), None), (ago(2), ago(1))]
    counted = gauge(lifetimes, NOW)
    assert (counted.before, counted.values[0], counted.values[-1]) == (2, 2, 2)
    assert len(counted.values) == SHOWN_DAYS
    assert sorted(set(counted.values)) == [1, 2, 3]
    assert counted.change == 0


def test_the_last_value_is_that_of_now() -> None:
    assert gauge([(NOW, None)], NOW).values == [0] * (SHOWN_DAYS - 1) + [1]
    assert gauge([(ago(1), NOW)], NOW).values[-1] == 0


def test_nothing_before_is_nothing_to_compare_with() -> None:
    assert gauge([(ago(1), None)], NOW).change is None
    assert gauge([], NOW).values == [0] * SHOWN_DAYS
    assert gauge([(ago(60), None), (ago(1), None)], NOW).change == 1


def test_what_began_today_draws_no_line() -> None:
    assert gauge([(NOW, None)], NOW).line == ()
    begun_yesterday = gauge([(ago(1), None)], NOW)
    assert begun_yesterday.line == begun_yesterday.values


def test_sums_are_compared_in_the_same_currency_alone() -> None:
    euro, yen = Money(currency_code="EUR", units=10), Money(currency_code="JPY", units=10)
    assert change_of_sums([Money(currency_code="EUR", units=15)], [euro]) == pytest.approx(0.5)
    for now, before in (([euro], [yen]), ([euro, yen], [euro]), ([euro], []), ([], [euro])):
        assert change_of_sums(now, before) is None
    assert change_of_sums([euro], [Money(currency_code="EUR")]) is None
