"""Slow answers and event streams: what a service's merchant has set decides how long they may take."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from ams.catalog.v1.forwarding_pb2 import ForwardingSettings
from ams.usage.v1 import events_pb2 as usage
from ams_common.testing.eventually import eventually
from ams_gateway.settings import Settings
from ams_gateway.testing.consumers import WAIT_S, Consumer, connect, head
from ams_gateway.testing.merchants import Answerer, Merchant, Reader, RecordedRequest, Writer, echo
from ams_gateway.testing.running import GrantedKey, Running, serve_gateway

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Running]:
    """Its own defaults are short: what outlasts them does so by the service's setting."""
    short = replace(settings, first_byte_timeout_s=1.0, upstream_idle_timeout_s=1.0, total_timeout_s=600.0)
    async with serve_gateway(short) as running:
        yield running


def stream_events(*silences_s: float, ends: bool = True) -> Answerer:
    """Event 0 at once, and one more after each silence."""

    async def answer(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        writer.write(STREAM)
        for number, silence_s in enumerate((0.0, *silences_s)):
            await asyncio.sleep(silence_s)
            event = b"data: %d\n\n" % number
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
        if ends:
            writer.write(b"0\r\n\r\n")
        else:
            await reader.read()

    return answer


async def read_event(consumer: Consumer) -> bytes:
    return await asyncio.wait_for(consumer.reader.readuntil(b"\n\n\r\n"), WAIT_S)


async def the_event(gateway: Running) -> usage.UsageEvent:
    async def events() -> list[usage.UsageEvent]:
        return gateway.events()

    (event,) = await eventually(events)
    return event


async def test_an_event_comes_as_soon_as_it_is_sent(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    sent = asyncio.Event()

    async def wait_amid(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        writer.write(STREAM + b"9\r\ndata: 0\n\n\r\n")
        await writer.drain()
        await sent.wait()
        writer.write(b"0\r\n\r\n")

    merchant.answer = wait_amid
    async with connect(gateway) as consumer:
        consumer.send(head(granted, method="GET"))
        assert b"data: 0" in await read_event(consumer)
        sent.set()
        assert (await asyncio.wait_for(consumer.reader.readuntil(b"0\r\n\r\n"), WAIT_S)).startswith(b"0")


async def test_silence_within_the_services_bound_is_no_failure(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    merchant.answer = stream_events(2.0, 2.0)
    await granted.write_service(forwarding=ForwardingSettings(idle_timeout_s=20))
    async with connect(gateway) as consumer:
        consumer.send(head(granted, method="GET"))
        answer = await consumer.answer("GET")
    assert answer.body == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
    event = await the_event(gateway)
    assert (event.status_code, event.outcome) == (200, usage.ANSWERED)


async def test_silence_beyond_the_bound_ends_the_stream_which_is_metered_as_broken_off(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    merchant.answer = stream_events(ends=False)
    await granted.write_service(forwarding=ForwardingSettings(idle_timeout_s=3))
    async with connect(gateway) as consumer:
        consumer.send(head(granted, method="GET"))
        assert b"data: 0" in await read_event(consumer)
        # It must not look as if it were whole.
        assert await consumer.rest() == b""
    await asyncio.wait_for(merchant.hung_up.wait(), WAIT_S)
    event = await the_event(gateway)
    assert (event.status_code, event.outcome) == (200, usage.BROKEN_OFF)
    assert event.response_payload_size_bytes == len("data: 0\n\n")


async def test_a_stream_that_never_falls_silent_ends_at_the_total_time_and_has_been_answered(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    merchant.answer = stream_events(*[0.1] * 10_000)
    await granted.write_service(forwarding=ForwardingSettings(total_timeout_s=2))
    async with connect(gateway) as consumer:
        consumer.send(head(granted, method="GET"))
        received = await consumer.rest()
    assert b"data: 1\n" in received and not received.endswith(b"0\r\n\r\n")
    assert (await the_event(gateway)).outcome == usage.ANSWERED


def answer_after(seconds: float) -> Answerer:
    async def answer(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        await asyncio.sleep(seconds)
        await echo(request, reader, writer)

    return answer


async def test_a_first_byte_may_come_as_late_as_the_service_lets_it(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    merchant.answer = answer_after(3.0)
    await granted.write_service(forwarding=ForwardingSettings(first_byte_timeout_s=30))
    async with connect(gateway) as consumer:
        consumer.send(head(granted, "Content-Length: 5"), b"hello")
        assert (await consumer.answer()).body == b"hello"


@pytest.mark.parametrize(
    "forwarding", [ForwardingSettings(), ForwardingSettings(first_byte_timeout_s=30, total_timeout_s=1)]
)
async def test_a_first_byte_that_comes_too_late_is_504_and_billed_to_nobody(
    gateway: Running, granted: GrantedKey, merchant: Merchant, forwarding: ForwardingSettings
) -> None:
    merchant.answer = answer_after(60.0)
    await granted.write_service(forwarding=forwarding)
    async with connect(gateway) as consumer:
        consumer.send(head(granted, "Content-Length: 5"), b"hello")
        answer = await consumer.answer()
        assert answer.status == 504 and b"upstream_timeout" in answer.body
    event = await the_event(gateway)
    assert (event.status_code, event.outcome) == (504, usage.UPSTREAM_FAILED)
