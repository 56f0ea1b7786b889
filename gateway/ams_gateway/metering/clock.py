"""How far this machine's clock is from the others': events carry its time, and usage-svc refuses those whose
time can't be. A gateway whose clock is off takes no calls that would end there.

Redis is asked, since all gateways share it. Where Redis can't be reached, the last answer stands.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import Protocol

from redis.exceptions import RedisError

log = logging.getLogger(__name__)

WARN_S = 60.0
UNREADY_S = 300.0
_EVERY_S = 30.0
# An answer that took longer says too little: the clock may have been read at either end of it.
_MAX_ROUND_TRIP_S = 5.0


class TimeSource(Protocol):
    """redis.asyncio.Redis, as far as it is needed here."""

    def time(self) -> Awaitable[tuple[int, int]]:
        """Unix time: seconds and microseconds."""


def clock_problem(offset_s: float | None) -> str | None:
    """Why a gateway whose clock is so far ahead (behind: negative) should take no calls; None: it may."""
    if offset_s is None or abs(offset_s) < UNREADY_S:
        return None
    return f"clock is {abs(offset_s):.0f} s {'ahead' if offset_s > 0 else 'behind'}"


def offset_of(asked_s: float, answered_s: float, their_s: float) -> float | None:
    """How far ahead a clock is that read `asked_s` and `answered_s` around another's `their_s`. None when the
    answer took too long to tell, or the clock was set meanwhile."""
    if not 0 <= answered_s - asked_s <= _MAX_ROUND_TRIP_S:
        return None
    return (asked_s + answered_s) / 2 - their_s


class ClockCheck:
    def __init__(self, source: TimeSource) -> None:
        self._source = source
        # Seconds ahead of the others; None until it could be measured.
        self.offset_s: float | None = None

    @property
    def problem(self) -> str | None:
        """The reason against readiness."""
        return clock_problem(self.offset_s)

    async def run(self) -> None:
        """For ever: measures twice a minute."""
        while True:
            await self.measure()
            await asyncio.sleep(_EVERY_S)

    async def measure(self) -> None:
        asked_s = time.time()
        try:
            seconds, microseconds = await self._source.time()
        except (RedisError, OSError, TimeoutError):
            return
        offset_s = offset_of(asked_s, time.time(), seconds + microseconds / 1e6)
        if offset_s is None:
            return
        if abs(offset_s) >= WARN_S:
            log.critical("clock is off", extra={"offset_s": round(offset_s, 3)})
        self.offset_s = offset_s
