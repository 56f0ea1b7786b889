"""What a worker holds and decides, without I/O; and what responses say of it."""

import re
from dataclasses import replace

import pytest
from ams_gateway.access.limits.allowance import Allowance, policy_line
from ams_gateway.access.limits.away import Share
from ams_gateway.access.limits.holding import Holding
from ams_gateway.access.limits.policy import (
    UNCAPPED,
    CounterId,
    LimitPolicy,
    SpendCap,
    request_counter,
    spend_counters,
)
from ams_gateway.access.limits.window import Ask, Counters, Limits, Reply, lease
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

START_MS = 1_795_000_000_000
COUNTER = CounterId("ams:limit:{s:c}:live")


class Redis:
    """Answers at once, by a clock that has nothing to do with the workers'."""

    def __init__(self) -> None:
        self.counters = Counters()

    def exchange(self, ask: Ask, now_s: float) -> Reply:
        reply, self.counters = lease(self.counters, ask, START_MS + int(now_s * 1000))
        return reply


def ask(holding: Holding, redis: Redis, need: int, now_s: float, delay_s: float = 0.001) -> float:
    """One round trip; returns when its answer came."""
    asked = holding.ask(need, 1, now_s, START_MS / 1000 + now_s)
    reply = redis.exchange(asked, now_s + delay_s / 2)
    holding.receive(asked, reply, now_s, now_s + delay_s)
    return now_s + delay_s


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),  # which worker
        st.sampled_from(["take", "take", "take", "refund", "sweep"]),
        st.one_of(st.floats(0, 0.1), st.floats(0, 20)),  # time before
        st.floats(0.0005, 0.3),  # a round trip's
    ),
    max_size=150,
)


@settings(max_examples=60, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.integers(1, 12), STEPS)
def test_whatever_is_given_back_never_more_than_the_limit_counts(
    limit: int, steps: list[tuple[int, str, float, float]]
) -> None:
    """Calls that were refunded don't count; which of a worker's calls it was, Redis isn't told."""
    redis, now_s = Redis(), 100.0
    holdings = [Holding(COUNTER, Limits(limit)) for _ in range(3)]
    passed: list[list[float]] = [[], [], []]
    for worker, action, pause_s, delay_s in steps:
        now_s += pause_s
        holding = holdings[worker]
        if action == "take":
            if not holding.has(1, now_s) and holding.denial(1, now_s) is None:
                now_s = ask(holding, redis, 1, now_s, delay_s)
            if holding.take(1, now_s):
                passed[worker].append(now_s)
        elif action == "refund" and passed[worker]:
            passed[worker].pop()
            holding.refund(1, now_s)
        elif action == "sweep" and holding.needs_exchange(now_s):
            now_s = ask(holding, redis, 0, now_s, delay_s)
    times_s = sorted(time_s for worker_times in passed for time_s in worker_times)
    for first_s in times_s:
        assert sum(first_s <= time_s <= first_s + 60 for time_s in times_s) <= limit


def test_a_lease_is_not_spent_after_its_end_and_then_given_back() -> None:
    redis = Redis()
    holding = Holding(COUNTER, Limits(100, 100, 100))
    came_s = ask(holding, redis, 5, 10.0)
    assert holding.take(3, came_s)
    assert not holding.take(1, 10.0501)
    assert holding.needs_exchange(10.06)
    ask(holding, redis, 0, 10.06)
    assert (redis.counters.day_used, redis.counters.month_used) == (3, 3)
    assert not holding.needs_exchange(10.07)


def test_what_is_given_back_just_after_its_lease_ended_is_not_lost() -> None:
    """A call for which a lease was waited for outlasts it as a rule: it is so short."""
    redis = Redis()
    holding = Holding(COUNTER, Limits(month=1))
    came_s = ask(holding, redis, 1, 10.0)
    assert holding.take(1, came_s)
    holding.refund(1, came_s + 0.06)
    now_s = ask(holding, redis, 1, came_s + 0.07)
    assert holding.take(1, now_s)


def test_an_answer_that_comes_after_its_lease_ended_is_given_back_and_more_time_is_asked_for() -> None:
    redis = Redis()
    holding = Holding(COUNTER, Limits(100))
    came_s = ask(holding, redis, 5, 10.0, 0.06)
    assert not holding.take(1, came_s)
    asked = holding.ask(5, 1, came_s, 0)
    assert asked.waiting_ms == 100
    assert [returned.units for returned in asked.returned] == [5]


@given(st.integers(0, 5000), st.integers(1, 40), st.one_of(st.none(), st.integers(0, 6000)))
def test_the_shares_of_all_workers_sum_to_what_is_left(limit: int, workers: int, used: int | None) -> None:
    shares = [Share(workers, rank, 0.0, 0.0).of(limit, used) for rank in range(workers)]
    left = limit if used is None else max(0, limit - used)
    assert sum(shares) <= left
    assert sum(shares) == left or used is not None
    assert left - sum(shares) < workers


def test_a_refused_limit_that_is_raised_lets_calls_pass_at_once() -> None:
    redis = Redis()
    holding = Holding(COUNTER, Limits(1))
    now_s = ask(holding, redis, 2, 10.0)
    assert holding.take(1, now_s)
    assert holding.denial(1, now_s) is not None
    holding.change_limits(Limits(5))
    assert holding.denial(1, now_s) is None
    now_s = ask(holding, redis, 1, now_s)
    assert holding.take(1, now_s)


# Headers

ITEM = re.compile(rb'"(minute|day|month)";r=(\d+);t=(\d+)')


def fields_of(allowance: Allowance) -> dict[bytes, bytes]:
    return dict(line.split(b": ", 1) for line in allowance.fields().split(b"\r\n")[:-1])


def items(allowance: Allowance) -> dict[bytes, tuple[int, int]]:
    value = fields_of(allowance)[b"ratelimit"]
    found = {name: (int(rest), int(reset)) for name, rest, reset in ITEM.findall(value)}
    assert value == b", ".join(b'"%b";r=%d;t=%d' % (name, *found[name]) for name in found)
    return found


def test_headers_count_down_with_each_call_and_say_when_there_is_more() -> None:
    redis, holding = Redis(), Holding(COUNTER, Limits(10, 1000, 20_000))
    policy = policy_line(holding.limits)
    assert policy == b'ratelimit-policy: "minute";q=10;w=60, "day";q=1000;w=86400, "month";q=20000\r\n'
    now_s = ask(holding, redis, 10, 10.0)
    allowances = []
    for _ in range(10):
        assert holding.take(1, now_s)
        allowances.append(Allowance(holding, policy, now_s))
    # Made late and in any order, they say what held when they were decided.
    rests = [items(allowance) for allowance in reversed(allowances)]
    assert [rest[b"minute"][0] for rest in rests] == list(range(10))
    assert [rest[b"day"][0] for rest in rests] == list(range(990, 1000))
    assert rests[0][b"minute"][1] in (60, 61)
    assert allowances[0].fields() == allowances[0].fields()


def test_a_refusal_has_nothing_left_and_says_when_to_come_again() -> None:
    redis, holding = Redis(), Holding(COUNTER, Limits(10, 3))
    now_s = ask(holding, redis, 5, 10.0)
    for _ in range(3):
        assert holding.take(1, now_s)
    denial = holding.denial(1, now_s)
    assert denial is not None and denial.bound == "day"
    retry_after_s = int(denial.until_s - now_s) + 1
    allowance = Allowance(holding, policy_line(holding.limits), now_s, denial.bound, retry_after_s)
    assert not allowance.allowed
    assert items(allowance) == {b"minute": (7, 61), b"day": (0, retry_after_s)}
    assert fields_of(allowance)[b"retry-after"] == b"%d" % retry_after_s


def test_without_limits_there_are_no_headers() -> None:
    assert Allowance(None, b"", 0.0).fields() == b""
    spend = Allowance(None, b"", 0.0, "spend", 77)
    assert spend.fields() == b"retry-after: 77\r\n"


# Counters

POLICY = LimitPolicy(
    service_id="s1", consumer_id="c1", key_id="k1", per_minute=60, price_nanos=5, currency="EUR"
)


def test_a_counters_keys_lie_in_one_slot_and_say_what_they_count() -> None:
    found = request_counter(POLICY)
    assert found is not None
    assert found[0].keys == ("ams:limit:{s1:c1}:live:minute", "ams:limit:{s1:c1}:live:calendar")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"shows_costs": True}, {"ams:limit:{key:k1}:spend:EUR": UNCAPPED}),
        ({"caps": (SpendCap("key", "k1", 9, "EUR"),)}, {"ams:limit:{key:k1}:spend:EUR": 9}),
        (
            {"caps": (SpendCap("key", "k1", 9, "EUR"),), "shows_costs": True},
            {"ams:limit:{key:k1}:spend:EUR": 9},
        ),
        (
            {"caps": (SpendCap("project", "p", 9, "EUR"), SpendCap("consumer", "c1", 8, "USD"))},
            {"ams:limit:{project:p}:spend:EUR": 9},
        ),
        ({"caps": (SpendCap("key", "k1", 9, "EUR"),), "price_nanos": 0}, {}),
        ({"caps": (SpendCap("key", "k1", 9, "EUR"),), "is_test": True}, {}),
    ],
)
def test_caps_count_what_is_billed_in_their_currency(
    changes: dict[str, object], expected: dict[str, int]
) -> None:
    found = spend_counters(replace(POLICY, **changes))  # type: ignore[arg-type]
    assert {counter.name: limits.month for counter, limits in found.items()} == expected
