"""The circuit breaker: what fails is left alone for a while, and tried one call at a time."""

import pytest
from ams_gateway.upstream.breaker import BreakerLimits, CircuitBreaker
from hypothesis import given
from hypothesis import strategies as st

LIMITS = BreakerLimits(
    consecutive_failures=5,
    window_s=10.0,
    min_calls=20,
    failure_share=0.5,
    open_s=1.0,
    max_open_s=8.0,
    max_probe_s=60.0,
)


@pytest.fixture
def breaker() -> CircuitBreaker:
    return CircuitBreaker(LIMITS)


def opened(breaker: CircuitBreaker, now_s: float = 0.0) -> CircuitBreaker:
    for _ in range(LIMITS.consecutive_failures):
        assert breaker.admits(now_s)
        breaker.failed(now_s, now_s)
    return breaker


def test_failures_in_a_row_open_it(breaker: CircuitBreaker) -> None:
    opened(breaker)
    assert not breaker.is_closed
    assert not breaker.admits(0.9)
    assert breaker.retry_after_s(0.0) == 1


def test_a_success_between_failures_keeps_it_closed(breaker: CircuitBreaker) -> None:
    for _ in range(LIMITS.consecutive_failures - 1):
        breaker.failed(0.0, 0.0)
    breaker.succeeded(0.0)
    for _ in range(LIMITS.consecutive_failures - 1):
        breaker.failed(0.0, 0.0)
    assert breaker.admits(0.0)


def test_a_high_share_of_failures_opens_it_once_there_were_enough_calls(breaker: CircuitBreaker) -> None:
    calls = 0
    while breaker.is_closed and calls < 100:
        breaker.failed(1.0, 1.0)
        breaker.succeeded(1.0)
        calls += 2
    assert LIMITS.min_calls <= calls <= LIMITS.min_calls + 2


def test_failures_that_lie_far_apart_dont_add_up(breaker: CircuitBreaker) -> None:
    now_s = 0.0
    for _ in range(200):
        breaker.failed(now_s, now_s)
        breaker.succeeded(now_s)
        now_s += LIMITS.window_s
    assert breaker.is_closed


def test_after_its_time_one_call_at_a_time_is_admitted(breaker: CircuitBreaker) -> None:
    opened(breaker)
    assert breaker.admits(1.0)
    assert not breaker.admits(1.0)
    assert not breaker.admits(5.0)
    breaker.succeeded(1.0)
    assert breaker.is_closed
    assert breaker.admits(5.0)


def test_a_probe_that_fails_opens_it_for_longer_each_time_up_to_a_bound(breaker: CircuitBreaker) -> None:
    opened(breaker)
    now_s = 0.0
    for open_s in (1.0, 2.0, 4.0, 8.0, 8.0):
        assert not breaker.admits(now_s + open_s - 0.01)
        now_s += open_s
        assert breaker.admits(now_s)
        breaker.failed(now_s, now_s)
    assert breaker.retry_after_s(now_s) == 8


def test_a_probe_whose_consumer_hung_up_makes_room_for_the_next(breaker: CircuitBreaker) -> None:
    opened(breaker)
    assert breaker.admits(1.0)
    breaker.abandoned(1.0)
    assert not breaker.is_closed
    assert breaker.admits(1.1)


def test_a_probe_that_is_never_heard_of_again_makes_room_for_the_next(breaker: CircuitBreaker) -> None:
    opened(breaker)
    assert breaker.admits(1.0)
    assert not breaker.admits(60.9)
    assert breaker.admits(61.0)


def test_calls_from_before_it_opened_say_nothing_of_now(breaker: CircuitBreaker) -> None:
    opened(breaker, now_s=10.0)
    breaker.failed(10.5, 2.0)
    assert breaker.admits(11.0)
    breaker.failed(11.0, 3.0)
    breaker.succeeded(3.0)
    breaker.abandoned(3.0)
    assert not breaker.is_closed
    assert not breaker.admits(11.1)
    breaker.succeeded(11.0)
    assert breaker.is_closed


@given(st.lists(st.tuples(st.sampled_from(["ok", "fail", "gone"]), st.floats(0.0, 5.0)), max_size=200))
def test_whatever_happens_it_admits_again_in_bounded_time(steps: list[tuple[str, float]]) -> None:
    breaker, now_s = CircuitBreaker(LIMITS), 0.0
    for outcome, pause_s in steps:
        now_s += pause_s
        if not breaker.admits(now_s):
            assert 1 <= breaker.retry_after_s(now_s) <= LIMITS.max_open_s
            continue
        if outcome == "ok":
            breaker.succeeded(now_s)
            assert breaker.is_closed
        elif outcome == "fail":
            breaker.failed(now_s, now_s)
        else:
            breaker.abandoned(now_s)
    assert breaker.admits(now_s + LIMITS.max_open_s)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=100))
def test_what_never_fails_is_never_refused(pauses_s: list[float]) -> None:
    breaker, now_s = CircuitBreaker(LIMITS), 0.0
    for pause_s in pauses_s:
        now_s += pause_s
        assert breaker.admits(now_s)
        breaker.succeeded(now_s)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["ok", "fail", "gone"])), max_size=300))
def test_while_not_closed_at_most_one_call_is_under_way_that_was_admitted_since(
    steps: list[tuple[int, str]],
) -> None:
    breaker, now_s = CircuitBreaker(LIMITS), 0.0
    probes: list[float] = []
    opened(breaker, now_s)
    for tenths, outcome in steps:
        now_s += tenths / 10
        if breaker.is_closed:
            opened(breaker, now_s)
            probes.clear()
        if breaker.admits(now_s):
            probes.append(now_s)
        probes = [at_s for at_s in probes if now_s - at_s < LIMITS.max_probe_s]
        assert len(probes) <= 1
        if probes and tenths > 5:
            at_s = probes.pop()
            if outcome == "ok":
                breaker.succeeded(at_s)
            elif outcome == "fail":
                breaker.failed(now_s, at_s)
            else:
                breaker.abandoned(at_s)
