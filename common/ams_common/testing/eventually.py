"""Waiting for what happens by itself, with a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(check: Callable[[], Awaitable[T]], timeout_s: float = 45.0) -> T:
    """The first truthy answer of `check`. Raises AssertionError with the last answer at the deadline."""
    deadline_s = time.monotonic() + timeout_s
    while not (answer := await check()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s} s; last answer: {answer!r}")
        await asyncio.sleep(0.02)
    return answer
