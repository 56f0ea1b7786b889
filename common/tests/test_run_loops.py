import asyncio

import asyncpg
import pytest
from ams_common.errors import UnavailableError
from ams_common.loops import run_forever


async def test_a_loop_waits_out_what_passes_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    faults = [
        ConnectionResetError(),
        asyncpg.DeadlockDetectedError(),
        asyncpg.UndefinedTableError(),
        UnavailableError("service_unavailable", "Away."),
    ]
    done = asyncio.Event()

    async def work() -> None:
        if faults:
            raise faults.pop()
        done.set()

    loop = asyncio.ensure_future(run_forever("sweeping", work, 0, retry_s=0))
    await asyncio.wait_for(done.wait(), 10)
    loop.cancel()
    assert caplog.text.count("sweeping waits") == 4


async def test_a_loop_ends_with_what_is_no_passing_fault() -> None:
    async def work() -> None:
        raise LookupError("a bug")

    with pytest.raises(LookupError, match="a bug"):
        await run_forever("sweeping", work, 3600)
