"""One worker or several behind one port: they share the calls, and come and go without a client noticing."""

import asyncio
import os
import signal
from collections import Counter
from uuid import UUID

import pytest
from aiohttp import ClientError, ClientSession, TCPConnector
from ams_common.ports import free_port
from ams_common.testing.eventually import eventually
from ams_gateway.settings import Settings
from ams_gateway.testing.merchants import Merchant, Reader, RecordedRequest, Writer, echo
from ams_gateway.testing.processes import gateway_process, workers_of
from ams_gateway.testing.running import GrantedKey

TOPIC_OF_NOBODY = "gateway-tests.usage.events"


class Calls:
    """Calls without pause: on a new connection each, and over one that is kept."""

    def __init__(self, port: int, granted: GrantedKey) -> None:
        self._url = f"http://127.0.0.1:{port}/api/consume/{granted.slug}/x"
        self._headers = {"X-API-Key": granted.key.secret}
        self._stop = False
        self.answered: Counter[int] = Counter()

    async def once(self, http: ClientSession, method: str = "GET") -> str:
        """The id of the worker that has answered: a part of each of its requests' ids."""
        async with http.request(method, self._url, data=b"x", headers=self._headers) as answer:
            await answer.read()
            self.answered[answer.status] += 1
            return f"{UUID(answer.headers['X-Request-Id']).int >> 22 & (1 << 40) - 1:x}"

    async def serves(self) -> bool:
        try:
            async with ClientSession() as http:
                await self.once(http)
        except (ClientError, OSError):
            return False
        return True

    async def run(self) -> None:
        async with ClientSession(connector=TCPConnector(force_close=True)) as fresh, ClientSession() as kept:
            while not self._stop:
                await self.once(fresh, "POST")
                # aiohttp repeats a GET, as it may, when a kept connection was closed just then.
                await self.once(kept)

    def stop(self) -> None:
        self._stop = True

    async def come_through(self, count: int) -> None:
        goal = self.answered.total() + count

        async def enough() -> bool:
            return self.answered.total() >= goal

        await eventually(enough)


async def test_the_workers_share_the_connections(settings: Settings, granted: GrantedKey) -> None:
    calls = Calls(port := free_port(), granted)
    async with gateway_process(port, settings, TOPIC_OF_NOBODY, workers=2) as process:
        await eventually(calls.serves)

        async def are_two() -> bool:
            return len(workers_of(process.pid)) == 2

        await eventually(are_two)
        async with ClientSession(connector=TCPConnector(limit=64)) as http:
            # Together, so that each has a connection of its own.
            served = Counter(await asyncio.gather(*(calls.once(http) for _ in range(64))))
    assert len(served) == 2
    # By the kernel's hash: fewer than 8 of 64 come once in 100 million times.
    assert min(served.values()) >= 8


@pytest.mark.parametrize("count", [1, 2])
async def test_workers_are_replaced_without_a_call_that_fails(
    settings: Settings, granted: GrantedKey, count: int
) -> None:
    calls = Calls(port := free_port(), granted)
    async with gateway_process(port, settings, TOPIC_OF_NOBODY, workers=count) as process:
        await eventually(calls.serves)
        before = set(workers_of(process.pid))
        calling = asyncio.create_task(calls.run())
        await calls.come_through(20)
        process.send_signal(signal.SIGHUP)

        async def are_replaced() -> bool:
            workers = set(workers_of(process.pid))
            return len(workers) == count and not workers & before

        await eventually(are_replaced)
        await calls.come_through(20)
        calls.stop()
        await calling
    assert set(calls.answered) == {200}


async def test_a_worker_that_was_killed_is_replaced(settings: Settings, granted: GrantedKey) -> None:
    calls = Calls(port := free_port(), granted)
    async with gateway_process(port, settings, TOPIC_OF_NOBODY, workers=2) as process:
        await eventually(calls.serves)
        killed, other = workers_of(process.pid)
        os.kill(killed, signal.SIGKILL)

        async def is_replaced() -> bool:
            workers = workers_of(process.pid)
            return len(workers) == 2 and killed not in workers and other in workers

        await eventually(is_replaced)
        # Who connected meanwhile waited at the socket, and was refused by nobody.
        async with ClientSession(connector=TCPConnector(limit=64)) as http:
            served = Counter(await asyncio.gather(*(calls.once(http) for _ in range(64))))
    assert len(served) == 2


async def test_a_stop_ends_well_and_answers_what_is_under_way(
    settings: Settings, granted: GrantedKey, merchant: Merchant
) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def late(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        arrived.set()
        await release.wait()
        await echo(request, reader, writer)

    calls = Calls(port := free_port(), granted)
    async with (
        gateway_process(port, settings, TOPIC_OF_NOBODY, workers=2) as process,
        ClientSession() as http,
    ):
        await eventually(calls.serves)
        merchant.answer = late
        calling = asyncio.create_task(calls.once(http, "POST"))
        await arrived.wait()
        process.terminate()

        async def takes_no_more() -> bool:
            return not await calls_taken(port)

        await eventually(takes_no_more)
        release.set()
        await calling
        assert await asyncio.wait_for(process.wait(), 30) == 0
    assert set(calls.answered) == {200}


async def test_without_their_supervisor_workers_answer_what_is_under_way_and_end(
    settings: Settings, granted: GrantedKey, merchant: Merchant
) -> None:
    """Nobody would replace or stop them any more, and a gateway that is started anew would share the port."""
    arrived, release = asyncio.Event(), asyncio.Event()

    async def late(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        arrived.set()
        await release.wait()
        await echo(request, reader, writer)

    calls = Calls(port := free_port(), granted)
    async with gateway_process(port, settings, TOPIC_OF_NOBODY) as process, ClientSession() as http:
        await eventually(calls.serves)
        merchant.answer = late
        calling = asyncio.create_task(calls.once(http, "POST"))
        await arrived.wait()
        process.kill()
        await process.wait()

        async def takes_no_more() -> bool:
            return not await calls_taken(port)

        await eventually(takes_no_more)
        release.set()
        await calling
    assert set(calls.answered) == {200}


async def calls_taken(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
