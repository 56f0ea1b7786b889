"""A gateway that gets no time to run takes nobody for away."""

import asyncio
import socket
import time

import pytest
from ams_gateway.tasks import timeout


async def test_an_answer_that_came_while_the_event_loop_stood_still_is_heard() -> None:
    here, there = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=here)

    async def ask() -> bytes:
        async with timeout(0.05):
            return await reader.readexactly(6)

    asked = asyncio.create_task(ask())
    await asyncio.sleep(0)
    there.send(b"answer")
    time.sleep(0.2)  # noqa: ASYNC251 - the stall
    assert await asked == b"answer"
    writer.close()
    there.close()


async def test_who_doesnt_answer_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        async with timeout(0.01):
            await asyncio.Event().wait()


async def test_who_answers_in_time_is_left_alone() -> None:
    async with timeout(0.01):
        pass
    # Past the time, nothing is cancelled any more.
    await asyncio.sleep(0.05)
