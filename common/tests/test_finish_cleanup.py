"""Clean-up is done to its end, whoever cancels meanwhile, and within a bound."""

import asyncio

import pytest
from ams_common.server import cancel, finish


async def test_being_cancelled_again_and_again_does_not_break_off_clean_up() -> None:
    begun, done = asyncio.Event(), asyncio.Event()

    async def close() -> None:
        begun.set()
        await asyncio.sleep(0.5)
        done.set()

    task = asyncio.create_task(finish(close(), 60))
    await begun.wait()
    await cancel([task])
    assert task.cancelled()
    assert done.is_set()


async def test_clean_up_that_hangs_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        await finish(asyncio.sleep(60), 0.01)


async def test_a_fault_of_clean_up_is_raised() -> None:
    async def close() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await finish(close(), 60)
