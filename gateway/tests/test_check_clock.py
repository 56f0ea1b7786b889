"""A gateway whose clock is off takes no calls: their events would be refused where they are counted."""

import time

import pytest
from aiohttp import ClientSession
from ams_gateway.metering.clock import ClockCheck, clock_problem, offset_of
from ams_gateway.testing.running import Running
from redis.asyncio import Redis


@pytest.mark.parametrize(
    ("offset_s", "problem"),
    [
        (None, None),
        (0.0, None),
        (-299.0, None),
        (299.0, None),
        (300.0, "clock is 300 s ahead"),
        (-7200.0, "clock is 7200 s behind"),
    ],
)
def test_five_minutes_are_too_much_and_an_unknown_offset_is_none(
    offset_s: float | None, problem: str | None
) -> None:
    assert clock_problem(offset_s) == problem


@pytest.mark.parametrize(
    ("asked_s", "answered_s", "offset_s"),
    [(100.0, 100.2, 0.1), (99.9, 100.1, 0.0), (100.0, 105.1, None), (100.0, 99.9, None)],
)
def test_the_offset_is_taken_at_half_way_unless_the_answer_took_too_long(
    asked_s: float, answered_s: float, offset_s: float | None
) -> None:
    found = offset_of(asked_s, answered_s, 100.0)
    assert found == (None if offset_s is None else pytest.approx(offset_s))


class ClockThatIsOff:
    """A Redis whose clock is hours from ours, as ours is from a right one's."""

    def __init__(self, ahead_s: int) -> None:
        self._ahead_s = ahead_s

    async def time(self) -> tuple[int, int]:
        return int(time.time()) + self._ahead_s, 0


async def test_a_clock_that_is_hours_off_is_a_reason_against_readiness() -> None:
    check = ClockCheck(ClockThatIsOff(ahead_s=3 * 3600))
    await check.measure()
    assert str(check.problem).endswith("s behind")


async def test_a_clock_that_agrees_with_redis_is_none_and_redis_away_changes_nothing(redis: "Redis") -> None:
    check = ClockCheck(redis)
    await check.measure()
    assert check.offset_s is not None
    assert check.problem is None
    before = check.offset_s
    away = ClockCheck(Redis(host="127.0.0.1", port=1))
    away.offset_s = before
    await away.measure()
    assert (away.offset_s, away.problem) == (before, None)


async def test_a_gateway_whose_clock_is_off_says_so_and_is_ready_again_when_it_is_set(
    gateway: Running, http: ClientSession
) -> None:
    async def readiness() -> tuple[int, str]:
        async with http.get(f"{gateway.operator_url}/readyz") as answer:
            return answer.status, await answer.text()

    assert await readiness() == (200, "ready\n")
    before, off = gateway.runtime.clock, ClockCheck(ClockThatIsOff(ahead_s=-3 * 3600))
    await off.measure()
    gateway.runtime.clock = off
    status, reason = await readiness()
    assert status == 503 and reason.startswith("clock is ") and reason.endswith(" s ahead\n")
    gateway.runtime.clock = before
    assert await readiness() == (200, "ready\n")
