"""Ending background tasks, and waiting for others."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

# More than the turns of the event loop that it takes to read an answer and to hand it to who waits.
_STEPS = 5


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancel until it has ended: libraries, and wait_for before Python 3.12, may swallow one cancellation.
    Whatever the task ended with is not raised."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.5)
    if not task.cancelled():
        task.exception()


@contextlib.asynccontextmanager
async def timeout(seconds: float) -> AsyncIterator[None]:
    """As asyncio.timeout, but while the event loop stands still nobody is late.

    On a machine with too little time for us a timer may come after its time, with the answer there and not
    read yet: whoever was asked would be taken for away. So time counts in steps, between which what has come
    is read."""
    async with asyncio.timeout(None) as limit:
        steps = _Steps(limit, seconds / _STEPS)
        try:
            yield
        finally:
            steps.end()


class _Steps:
    def __init__(self, limit: asyncio.Timeout, step_s: float) -> None:
        self._limit = limit
        self._step_s = step_s
        self._left = _STEPS
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(step_s, self._step)

    def _step(self) -> None:
        self._left -= 1
        if self._left:
            self._timer = self._loop.call_later(self._step_s, self._step)
        else:
            self._limit.reschedule(self._loop.time())

    def end(self) -> None:
        self._timer.cancel()
