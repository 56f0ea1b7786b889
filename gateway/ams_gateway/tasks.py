"""Ending background tasks."""

import asyncio


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancel until it has ended: libraries, and wait_for before Python 3.12, may swallow one cancellation.
    Whatever the task ended with is not raised."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.5)
    if not task.cancelled():
        task.exception()
