"""A body that nobody wants any more holds neither its connection nor the gateway."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from ams_common import apikeys
from ams_common.testing.eventually import eventually
from ams_gateway.settings import Settings
from ams_gateway.testing.consumers import Consumer, connect, head
from ams_gateway.testing.running import GrantedKey, Running, serve_gateway

SIZES = [70_000, 5_000_000]


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Running]:
    """Impatient, so that what is kept open for ever is seen soon."""
    impatient = replace(settings, body_timeout_s=2.0, idle_timeout_s=2.0, head_timeout_s=2.0)
    async with serve_gateway(impatient) as running:
        yield running


def refused_head(status: int, *lines: str) -> bytes:
    path = "/api/consume/x" if status == 401 else "/nowhere"
    fields = [f"POST {path} HTTP/1.1", "Host: g", f"X-API-Key: {apikeys.generate().secret}", *lines]
    return ("\r\n".join(fields) + "\r\n\r\n").encode()


async def send_body(consumer: Consumer, size_bytes: int, form: str) -> None:
    """As clients do that don't look at the answer before they have sent all."""
    try:
        for start in range(0, size_bytes, 65536):
            piece = b"x" * min(65536, size_bytes - start)
            consumer.send(b"%x\r\n%b\r\n" % (len(piece), piece) if form == "chunked" else piece)
            await consumer.writer.drain()
        if form == "chunked":
            consumer.send(b"0\r\n\r\n")
    except ConnectionError:
        # Closed meanwhile: the answer may have come all the same.
        pass


async def serves_nobody(gateway: Running) -> bool:
    return not gateway.runtime.deadlines.connections and not gateway.runtime.gateway.in_flight


@pytest.mark.parametrize("form", ["length", "chunked"])
@pytest.mark.parametrize("size_bytes", SIZES)
@pytest.mark.parametrize("status", [401, 404])
async def test_a_connection_whose_body_was_refused_is_closed_or_serves_the_next_call(
    gateway: Running, granted: GrantedKey, status: int, size_bytes: int, form: str
) -> None:
    framing = "Transfer-Encoding: chunked" if form == "chunked" else f"Content-Length: {size_bytes}"
    async with connect(gateway) as consumer:
        consumer.send(refused_head(status, framing))
        sending = asyncio.create_task(send_body(consumer, size_bytes, form))
        try:
            answer = await consumer.answer()
        except (ConnectionError, asyncio.IncompleteReadError):
            # Closed amid what was being sent, which may take the answer along.
            assert size_bytes > 1_000_000
        else:
            assert answer.status == status
            await sending
            consumer.send(head(granted, "Content-Length: 5"), b"hello")
            try:
                assert (await consumer.answer()).body == b"hello"
            except (ConnectionError, asyncio.IncompleteReadError):
                assert answer.header("connection") == "close"
        await sending
        # Whoever is still there is closed as idle.
        with contextlib.suppress(ConnectionError):
            assert await consumer.rest() == b""
    await eventually(lambda: serves_nobody(gateway), timeout_s=20)


@pytest.mark.parametrize("sent_bytes", [0, 1, 69_999])
async def test_a_refused_body_that_stops_coming_is_waited_for_within_its_bound(
    gateway: Running, sent_bytes: int
) -> None:
    async with connect(gateway) as consumer:
        consumer.send(refused_head(401, "Content-Length: 70000"), b"x" * sent_bytes)
        assert (await consumer.answer()).status == 401
        assert await consumer.rest() == b""
    await eventually(lambda: serves_nobody(gateway), timeout_s=20)


@pytest.mark.parametrize("status", [401, 404])
async def test_a_refused_body_that_comes_after_the_answer_leaves_no_connection_open_for_ever(
    gateway: Running, status: int
) -> None:
    async with connect(gateway) as consumer:
        consumer.send(refused_head(status, "Content-Length: 70000"))
        assert (await consumer.answer()).status == status
        await send_body(consumer, 70_000, "length")
        assert await consumer.rest() == b""
    await eventually(lambda: serves_nobody(gateway), timeout_s=20)


async def test_who_asks_before_it_sends_is_refused_without_sending(gateway: Running) -> None:
    async with connect(gateway) as consumer:
        consumer.send(refused_head(401, "Content-Length: 5000000", "Expect: 100-continue"))
        assert (await consumer.reader.readline()).startswith(b"HTTP/1.1 401 ")


@pytest.fixture
async def hasty() -> AsyncIterator[str]:
    """The base URL of a merchant that answers by the head alone, and reads the body over."""
    readings: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        readings.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhasty")
            while await reader.read(65536):
                pass
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await asyncio.gather(*readings, return_exceptions=True)


@pytest.mark.parametrize("form", ["length", "chunked"])
@pytest.mark.parametrize("size_bytes", SIZES)
async def test_an_answer_before_the_bodys_end_comes_whole_and_holds_nothing(
    gateway: Running, granted: GrantedKey, hasty: str, size_bytes: int, form: str
) -> None:
    granted.base_url = hasty
    await granted.write_service()
    framing = "Transfer-Encoding: chunked" if form == "chunked" else f"Content-Length: {size_bytes}"
    async with connect(gateway) as consumer:
        consumer.send(head(granted, framing), b"1\r\nx\r\n" if form == "chunked" else b"x")
        answer = await consumer.answer()
        assert (answer.status, answer.body) == (200, b"hasty")
        await send_body(consumer, size_bytes - (form == "length"), form)
        with contextlib.suppress(ConnectionError):
            assert await consumer.rest() == b""
    await eventually(lambda: serves_nobody(gateway), timeout_s=20)
    (event,) = gateway.events()
    assert event.status_code == 200
