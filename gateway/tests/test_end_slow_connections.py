"""Consumers who keep a connection without using it: each is given a bound, and is metered like a hang-up."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from ams.usage.v1 import events_pb2 as usage
from ams_common.testing.eventually import eventually
from ams_gateway.settings import Settings
from ams_gateway.testing.merchants import Merchant, Reader, RecordedRequest, Writer, respond_with
from ams_gateway.testing.running import GrantedKey, Running, serve_gateway

# Far longer than any bound under test: what ends before it was ended by that bound.
LONG_S = 600.0
WAIT_S = 15.0


@pytest.fixture
def long_timeouts(settings: Settings) -> Settings:
    """No bound is near; each test shortens its own."""
    return replace(
        settings,
        head_timeout_s=LONG_S,
        body_timeout_s=LONG_S,
        write_timeout_s=LONG_S,
        idle_timeout_s=LONG_S,
        first_byte_timeout_s=LONG_S,
    )


def head(granted: GrantedKey, *lines: str) -> bytes:
    fields = [
        f"POST /api/consume/{granted.slug} HTTP/1.1",
        "Host: g",
        f"X-API-Key: {granted.key.secret}",
        *lines,
    ]
    return ("\r\n".join(fields) + "\r\n\r\n").encode()


async def drip(writer: asyncio.StreamWriter) -> None:
    """One header line after the other, without end."""
    while not writer.is_closing():
        writer.write(b"X-A: b\r\n")
        await asyncio.sleep(0.05)


async def test_a_head_that_takes_too_long_is_408(long_timeouts: Settings, granted: GrantedKey) -> None:
    async with serve_gateway(replace(long_timeouts, head_timeout_s=0.3)) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head(granted)[:-2])
        dripping = asyncio.create_task(drip(writer))
        answer = await asyncio.wait_for(reader.readuntil(b"}"), WAIT_S)
        assert answer.startswith(b"HTTP/1.1 408 ") and b"request_timeout" in answer
        dripping.cancel()
        writer.close()


@pytest.mark.parametrize("before", ["nothing", "a call"])
async def test_a_connection_without_a_request_is_closed(
    long_timeouts: Settings, granted: GrantedKey, merchant: Merchant, before: str
) -> None:
    merchant.answer = respond_with(b"HTTP/1.1 204 No Content\r\n\r\n")
    async with serve_gateway(replace(long_timeouts, idle_timeout_s=0.3)) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        if before == "a call":
            writer.write(head(granted, "Content-Length: 0"))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
        assert await asyncio.wait_for(reader.read(), WAIT_S) == b""
        writer.close()


@pytest.mark.parametrize("piece", [b"", b"hello"], ids=["no body", "half a body"])
async def test_a_body_that_stops_coming_ends_the_connection(
    long_timeouts: Settings, granted: GrantedKey, merchant: Merchant, piece: bytes
) -> None:
    # Long enough for the piece to reach the merchant on a busy machine.
    async with serve_gateway(replace(long_timeouts, body_timeout_s=3.0)) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head(granted, "Content-Length: 10") + piece)
        assert await asyncio.wait_for(reader.read(), WAIT_S) == b""
        writer.close()
        await idle(gateway)
        # Nobody is charged for what never reached the merchant.
        events = [(event.status_code, event.outcome) for event in gateway.events()]
        assert events == ([(499, usage.CLIENT_CLOSED)] if piece else [])


async def idle(gateway: Running) -> None:
    async def nothing_in_flight() -> bool:
        return gateway.runtime.gateway.in_flight == 0

    await eventually(nothing_in_flight)


async def endless(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


@pytest.fixture
async def short_write(long_timeouts: Settings) -> AsyncIterator[Running]:
    async with serve_gateway(replace(long_timeouts, write_timeout_s=0.5)) as gateway:
        yield gateway


async def test_a_consumer_who_stops_reading_is_cut_off_and_metered(
    short_write: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    merchant.answer = endless
    reader, writer = await asyncio.open_connection("127.0.0.1", short_write.port, limit=1024)
    writer.write(head(granted, "Content-Length: 0"))
    await reader.readline()
    await asyncio.wait_for(merchant.hung_up.wait(), WAIT_S)
    await idle(short_write)
    (event,) = short_write.events()
    assert (event.status_code, event.outcome) == (200, usage.ANSWERED)
    assert 0 < event.response_payload_size_bytes < 100_000_000
    writer.transport.abort()


async def test_a_consumer_who_reads_slowly_is_not_cut_off(
    short_write: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    size = 20_000_000
    body = b"x" * size
    merchant.answer = respond_with(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, body)
    reader, writer = await asyncio.open_connection("127.0.0.1", short_write.port, limit=65536)
    writer.write(head(granted, "Content-Length: 0"))
    await reader.readuntil(b"\r\n\r\n")
    received = 0
    while received < size:
        received += len(await asyncio.wait_for(reader.read(400_000), WAIT_S))
        await asyncio.sleep(0.02)  # The consumer's pace: in all longer than the bound.
    writer.close()
    await idle(short_write)
    (event,) = short_write.events()
    assert (event.outcome, event.response_payload_size_bytes) == (usage.ANSWERED, size)
