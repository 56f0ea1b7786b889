"""The rule of leases, by its pure form; and that the script in Redis does the same."""

import asyncio
import secrets
from datetime import date
from importlib.resources import files

import pytest
from ams_gateway.access.limits.window import (
    DAY_MS,
    LONG_LEASE_MS,
    QUANTUM_MS,
    WINDOW_MS,
    Ask,
    Counters,
    Known,
    Limits,
    Reply,
    Returned,
    Spent,
    lease,
    month_of,
)
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

START_MS = 1_795_000_000_000
# Steps between the workers' calls: within a quantum, a lease, a window, and past it.
STEPS_MS = st.one_of(st.integers(0, 300), st.integers(0, 5_000), st.integers(0, 90_000))


@given(
    st.integers(1, 200),
    st.lists(
        st.tuples(
            STEPS_MS,
            st.integers(0, 40),
            st.integers(0, 100),
            st.sampled_from([0, 0, 1, 20]),
            st.one_of(st.integers(0, 250), st.integers(0, LONG_LEASE_MS)),
        ),
        max_size=60,
    ),
)
@example(60, [(0, 1, 0, 0, 0), (59_000, 59, 0, 0, 0), (1_200, 60, 0, 0, 0)])
@example(200, [(0, 1, 0, 3, 5_000), (60_600, 200, 0, 0, 0)])
def test_no_sixty_seconds_have_more_spent_than_the_limit(
    limit: int, calls: list[tuple[int, int, int, int, int]]
) -> None:
    """Whenever within their leases the units are spent."""
    counters, now_ms = Counters(), START_MS
    spent: list[tuple[int, int]] = []
    for step_ms, need, extra, long_extra, delay_ms in calls:
        now_ms += step_ms
        reply, counters = lease(counters, Ask(Limits(limit), need, extra, long_extra=long_extra), now_ms)
        spent.append((now_ms + min(delay_ms, reply.lease_ms), reply.granted))
    for begin_ms, _ in spent:
        within = sum(units for at_ms, units in spent if begin_ms <= at_ms <= begin_ms + 60_000)
        assert within <= limit


@settings(max_examples=10)
@given(st.integers(1, 300), st.integers(0, 60_000))
@example(1, 0)
@example(300, 0)
def test_at_steady_load_nearly_the_whole_limit_passes(limit: int, phase_ms: int) -> None:
    """Asked by one request every 20 ms, ten times the limit at least, for five minutes."""
    counters, granted, now_ms = Counters(), 0, START_MS + phase_ms
    end_ms = now_ms + 307_500
    while now_ms < end_ms:
        reply, counters = lease(counters, Ask(Limits(limit), 1), now_ms)
        granted += reply.granted
        # Refused: nobody asks before the oldest count ends.
        now_ms += 20 if reply.granted else max(20, reply.next_ms)
    # Each minute's limit is had in its first 6 s; five minutes on, the sixth as well, at most 1.5 s late.
    assert granted >= limit * 6


def test_what_is_given_back_can_be_had_at_once() -> None:
    reply, counters = lease(Counters(), Ask(Limits(10, 10, 10), 2, 80), START_MS)
    assert reply.granted == 3
    back = Returned(reply.end_q, reply.day, reply.month, 3)
    reply, counters = lease(counters, Ask(Limits(10, 10, 10), returned=(back,)), START_MS + 1)
    assert (reply.minute_used, reply.day_used, reply.month_used) == (0, 0, 0)
    # What was spent since can't be given back a second time.
    reply, counters = lease(counters, Ask(Limits(10, 10, 10), returned=(back,)), START_MS + 2)
    assert (reply.minute_used, reply.day_used, reply.month_used) == (0, 0, 0)


@given(st.integers(1, 30), st.lists(st.integers(0, 20), min_size=1, max_size=40))
def test_the_last_units_are_had_by_whoever_asks(limit: int, needs: list[int]) -> None:
    counters, granted = Counters(), 0
    for need in needs:
        reply, counters = lease(counters, Ask(Limits(month=limit), need), START_MS)
        granted += reply.granted
        assert granted == min(limit, granted + need - reply.granted)


def test_what_is_leased_ahead_shrinks_with_the_rest() -> None:
    counters, slices = Counters(), []
    for _ in range(40):
        reply, counters = lease(counters, Ask(Limits(800), 0, 10_000), START_MS)
        slices.append(reply.granted)
    assert slices[0] == 100
    assert slices == sorted(slices, reverse=True)
    assert slices[-1] == 0
    assert 800 - sum(slices) == 7


@given(st.integers(1, 10**15), st.integers(0, 2 * 10**15), st.integers(1, 10**13))
def test_money_is_granted_in_whole_prices(cap: int, need_up_to: int, price: int) -> None:
    need = need_up_to - need_up_to % price
    reply, _ = lease(Counters(), Ask(Limits(month=cap), need, 0, price), START_MS)
    assert reply.granted == min(need, cap - cap % price)


def test_a_day_begins_with_nothing_used_and_a_lease_ends_with_its_day() -> None:
    midnight_ms = (START_MS // DAY_MS + 1) * DAY_MS
    limits = Limits(day=10, month=30)
    reply, counters = lease(Counters(), Ask(limits, 10), midnight_ms - 20)
    assert (reply.granted, reply.lease_ms, reply.day_left_ms) == (10, 20, 20)
    reply, counters = lease(counters, Ask(limits, 10), midnight_ms)
    assert (reply.granted, reply.day_used, reply.month_used) == (10, 10, 20)
    # Given back late, what was granted the day before doesn't lower this day's count.
    back = Returned(0, reply.day - 1, reply.month, 5)
    reply, counters = lease(counters, Ask(limits, returned=(back,)), midnight_ms + 1)
    assert (reply.day_used, reply.month_used) == (10, 15)


def test_a_clock_set_back_neither_frees_nor_freezes_the_window() -> None:
    reply, counters = lease(Counters(), Ask(Limits(5), 5), START_MS)
    back_ms = START_MS - 7_200_000
    reply, counters = lease(counters, Ask(Limits(5), 1), back_ms)
    assert reply.granted == 0
    reply, counters = lease(counters, Ask(Limits(5), 1), back_ms + 59_000)
    assert reply.granted == 0
    reply, counters = lease(counters, Ask(Limits(5), 1), back_ms + WINDOW_MS + 50 + 2 * QUANTUM_MS)
    assert reply.granted == 1


def test_what_was_spent_without_a_lease_counts_from_when_it_was() -> None:
    spent = (Spent(59_000, 3), Spent(1_000, 2), Spent(70_000, 9))
    reply, counters = lease(Counters(), Ask(Limits(10, 100, 100), 9, spent=spent), START_MS)
    assert reply.granted == 5
    assert reply.month_used == 3 + 2 + 9 + 5
    reply, _ = lease(counters, Ask(Limits(10, 100, 100), 9), START_MS + 2_000)
    assert reply.granted == 3


def test_a_redis_that_lost_its_counts_is_told_them() -> None:
    day = START_MS // DAY_MS
    known = Known(day, 70, month_of(day), 700)
    reply, _ = lease(Counters(), Ask(Limits(day=100, month=10_000), 50, known=known), START_MS)
    assert (reply.granted, reply.month_used) == (30, 730)


UNITS = st.integers(0, 60)


def asks(limits: st.SearchStrategy[int]) -> st.SearchStrategy[Ask]:
    day = START_MS // DAY_MS
    return st.builds(
        Ask,
        st.builds(Limits, limits, limits, limits),
        need=UNITS.map(lambda units: units - units % 3),
        extra=st.integers(0, 900),
        unit=st.sampled_from([1, 3]),
        lease_ms=st.just(250),
        waiting_ms=st.just(50),
        returned=st.just(()),
        known=st.builds(Known, st.sampled_from([-1, day]), UNITS, st.just(month_of(day)), UNITS),
        spent=st.lists(st.builds(Spent, st.integers(0, 200_000), st.integers(1, 5)), max_size=2).map(tuple),
        long_extra=st.integers(0, 200).map(lambda units: units * 3),
        long_ms=st.just(LONG_LEASE_MS),
    )


# Near the limits, far below them, and in between.
ASKS = st.one_of(
    asks(st.one_of(st.integers(-1, 90), st.integers(-1, 900))),
    asks(st.sampled_from([-1, 1_500, 9_000, 100_000])),
)
MOVES_MS = st.one_of(STEPS_MS, st.just(10), st.integers(-100_000, 0), st.integers(0, 40 * DAY_MS))


@settings(max_examples=40, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.lists(st.tuples(MOVES_MS, ASKS, st.integers(0, 60)), min_size=1, max_size=30),
    st.sampled_from([START_MS, 1_798_761_580_000, 1_835_394_000_000]),
)
def test_the_script_in_redis_does_the_same(
    redis_url: str, calls: list[tuple[int, Ask, int]], start_ms: int
) -> None:
    """On histories with returns, clocks set back, days and months (also the end of a year and a leap day)."""
    asyncio.run(_compare(redis_url, calls, start_ms))


async def _compare(redis_url: str, calls: list[tuple[int, Ask, int]], start_ms: int) -> None:
    name = f"ams:limit:{{test-{secrets.token_hex(8)}}}:"
    source = (files("ams_gateway.access.limits") / "lease.lua").read_text()
    assert source.count("redis.call('TIME')") == 1
    # The script's clock is in the test's hand.
    source = source.replace("redis.call('TIME')", "{ARGV[#ARGV - 1] , ARGV[#ARGV]}").replace(
        "for i = 1, #ARGV do", "for i = 1, #ARGV - 2 do"
    )
    counters, now_ms = Counters(), start_ms
    granted: list[Returned] = []
    async with Redis.from_url(redis_url) as redis:
        script = redis.register_script(source)
        for move_ms, ask, give_back in calls:
            now_ms += move_ms
            if granted and give_back:
                last = granted.pop()
                ask = ask._replace(returned=(last._replace(units=min(last.units, give_back)),))
            expected, counters = lease(counters, ask, now_ms)
            arguments = [*ask.arguments(), now_ms // 1000, now_ms % 1000 * 1000]
            reply = Reply(*await script(keys=[name + "minute", name + "calendar"], args=arguments))
            assert reply == expected
            if reply.granted:
                granted.append(Returned(reply.end_q, reply.day, reply.month, reply.granted))
        await redis.delete(name + "minute", name + "calendar")


async def test_a_long_lease_is_not_forgotten_after_a_short_one(redis: "Redis") -> None:
    """The counts' time to live is set with each exchange, also with one that grants for less long."""
    name = f"ams:limit:{{test-{secrets.token_hex(8)}}}:"
    script = redis.register_script((files("ams_gateway.access.limits") / "lease.lua").read_text())
    for ask in (Ask(Limits(1000), 1, long_extra=5), Ask(Limits(1000), 1)):
        reply = Reply(*await script(keys=[name + "minute", name + "calendar"], args=ask.arguments()))
    assert reply.lease_ms == ask.waiting_ms
    assert await redis.pttl(name + "minute") > WINDOW_MS + LONG_LEASE_MS + 1_000


@pytest.mark.parametrize("text", ["2026-02-28", "2028-02-29", "2026-12-31", "2027-01-01", "2100-03-01"])
def test_months_are_counted_as_the_calendar_does(text: str) -> None:
    day = date.fromisoformat(text)
    assert month_of((day - date(1970, 1, 1)).days) == day.year * 12 + day.month - 1
