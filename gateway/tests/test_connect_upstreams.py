"""Connecting to merchants' APIs takes a bounded time, however many of their addresses are dead."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from ams_gateway.http.targets import Origin
from ams_gateway.upstream.pool import Pool, PoolLimits, UnreachableError


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Of a server at 127.0.0.1."""
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@contextlib.contextmanager
def dead(address: str, port: int) -> Iterator[None]:
    """Takes no connection and refuses none: its queue is full, so that what comes is dropped."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(4):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((address, port))
        yield


async def test_a_dead_address_leaves_the_next_its_time(port: int) -> None:
    pool, origin = Pool(PoolLimits(connect_timeout_s=2.0)), Origin("api.example.com", port, False)
    with dead("127.0.0.2", port):
        connection = await pool.connect(origin, ["127.0.0.2", "127.0.0.1"])
    assert connection.is_open
    pool.close()
    await asyncio.sleep(0)


async def test_many_dead_addresses_take_no_longer_than_one(port: int) -> None:
    pool, origin = Pool(PoolLimits(connect_timeout_s=1.0)), Origin("api.example.com", port, False)
    started_s = time.monotonic()
    with dead("127.0.0.2", port), pytest.raises(UnreachableError):
        await pool.connect(origin, ["127.0.0.2"] * 20)
    # Twenty times a second would be twenty.
    assert time.monotonic() - started_s < 10


async def test_a_refused_connection_is_unreachable_and_leaves_nothing_behind(port: int) -> None:
    pool, origin = Pool(PoolLimits()), Origin("api.example.com", port, False)
    with pytest.raises(UnreachableError):
        await pool.connect(origin, ["127.0.0.3"])
    assert pool.reuse(origin) is None
