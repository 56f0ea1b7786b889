import asyncio

from ams_common.server import cancel


async def test_work_that_loses_a_cancellation_is_ended_all_the_same() -> None:
    lost = 0

    async def deaf_twice() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if lost == 2:
                    raise
                lost += 1

    async def fails() -> None:
        raise ZeroDivisionError

    tasks = [asyncio.ensure_future(work()) for work in (deaf_twice, fails)]
    await asyncio.sleep(0)
    await cancel(tasks)
    assert lost == 2 and tasks[0].cancelled()
    assert isinstance(tasks[1].exception(), ZeroDivisionError)
