"""Waiting for what happens by itself, with a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

# What comes soon is seen soon, and what takes long isn't held up by being asked.
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.25


async def eventually(check: Callable[[], Awaitable[T]], timeout_s: float = 45.0) -> T:
    """The first truthy answer of `check`. Raises TimeoutError with the last answer at the deadline."""
    deadline_s = time.monotonic() + timeout_s
    pause_s = _FIRST_PAUSE_S
    while not (answer := await check()):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not within {timeout_s} s; last answer: {answer!r}")
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
    return answer
