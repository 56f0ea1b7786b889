"""A target is met, or the table says why it isn't."""

from collections.abc import Sequence

import pytest

from loadtests.load.figures import Target, table
from loadtests.load.stage import Answer, Results, Row, percentile

TARGET = Target("consume", 10, 95, 200, frozenset({200, 429}))


def answers(times_ms: Sequence[float], refused: int = 1) -> list[Answer]:
    statuses = [429] * refused + [200] * (len(times_ms) - refused)
    return [Answer("consume", status, True, ms) for status, ms in zip(statuses, times_ms, strict=True)]


def verdict(kept: Sequence[Answer], seconds: float = 10, complaints: Sequence[str] = ()) -> tuple[str, bool]:
    """The row's line, and whether every target is met."""
    rows = [Row.of("consume", kept, seconds)] if kept else []
    text, met = table(Results(rows, 0, list(complaints)), [TARGET])
    return text.splitlines()[1], met


def test_a_target_that_is_just_met_is_met() -> None:
    line, met = verdict(answers([200.0] * 95 + [5000.0] * 5))
    assert met
    assert "ok" in line
    assert "99.0% 200, 1.0% 429" in line


def test_a_millisecond_over_the_limit_is_missed() -> None:
    """No rounding in the target's favour."""
    line, met = verdict(answers([200.0] * 94 + [200.4] * 6))
    assert (met, "missed" in line) == (False, True)


def test_a_rate_that_was_not_reached_shows_nothing() -> None:
    line, met = verdict(answers([1.0] * 94))
    assert (met, "rate missed" in line) == (False, True)


def test_one_unexpected_answer_fails() -> None:
    line, met = verdict([*answers([1.0] * 99), Answer("consume", 0, False, 1.0)])
    assert (met, "failures" in line) == (False, True)


def test_a_refusal_that_never_came_fails() -> None:
    line, met = verdict(answers([1.0] * 100, refused=0))
    assert (met, "no 429" in line) == (False, True)


def test_a_scenario_that_sent_nothing_fails() -> None:
    line, met = verdict([])
    assert (met, "rate missed" in line) == (False, True)


def test_unexpected_answers_are_told() -> None:
    results = Results([Row.of("consume", answers([1.0] * 100), 10)], 0, ["3 × GET / answered 500"])
    text, _ = table(results, [TARGET])
    assert text.endswith("unexpected: 3 × GET / answered 500")


@pytest.mark.parametrize(("percent", "expected"), [(50, 2.0), (90, 4.0), (99, 4.0)])
def test_a_percentile_is_one_of_the_times(percent: int, expected: float) -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], percent) == expected
    assert percentile([], percent) == 0.0
