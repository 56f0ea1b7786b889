"""Consumers who hang up or don't read, merchants who are slow, cut off or gone."""

import asyncio
import contextlib
import resource
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientConnectionError, ClientPayloadError, ClientSession, ClientTimeout
from ams.catalog.v1.forwarding_pb2 import ForwardingSettings
from ams.usage.v1 import events_pb2 as usage
from ams_common.testing.eventually import eventually
from ams_gateway.settings import Settings
from ams_gateway.testing.merchants import (
    Merchant,
    Reader,
    RecordedRequest,
    Writer,
    echo,
    never_answer,
    respond_with,
)
from ams_gateway.testing.narrow import connect_narrow, narrow_listener
from ams_gateway.testing.running import GrantedKey, Running, serve_gateway

OK = b"HTTP/1.1 200 OK\r\n"


def left_in(settings: Settings) -> list[str]:
    return [path.name for path in Path(settings.journal_dir).iterdir()]


async def the_event(gateway: Running) -> usage.UsageEvent:
    async def events() -> list[usage.UsageEvent]:
        return gateway.events()

    (event,) = await eventually(events)
    return event


def head(granted: GrantedKey, *lines: str) -> bytes:
    fields = [
        f"POST /api/consume/{granted.slug} HTTP/1.1",
        "Host: g",
        f"X-API-Key: {granted.key.secret}",
        *lines,
    ]
    return ("\r\n".join(fields) + "\r\n\r\n").encode()


async def test_a_consumer_who_hangs_up_cancels_the_call_and_is_metered_499(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    merchant.answer = never_answer
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(head(granted, "Content-Length: 5") + b"hello")

    async def has_arrived() -> bool:
        return bool(merchant.requests)

    await eventually(has_arrived)
    writer.close()
    await asyncio.wait_for(merchant.hung_up.wait(), 10)
    event = await the_event(gateway)
    assert (event.status_code, event.outcome) == (499, usage.CLIENT_CLOSED)
    assert event.request_payload_size_bytes == 5


async def test_a_consumer_who_hangs_up_while_sending_cancels_the_call(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(head(granted, "Content-Length: 1000") + b"x" * 10)

    async def is_connected() -> bool:
        return merchant.connections == 1

    await eventually(is_connected)
    writer.close()
    await asyncio.wait_for(merchant.hung_up.wait(), 10)
    event = await the_event(gateway)
    assert (event.status_code, event.outcome) == (499, usage.CLIENT_CLOSED)


async def test_a_consumer_who_hangs_up_amid_the_answer_has_been_answered(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    async def endless(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        writer.write(OK + b"Content-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    merchant.answer = endless
    reader, writer = await connect_narrow(gateway.port)
    writer.write(head(granted, "Content-Length: 0"))
    await reader.readexactly(100_000)
    writer.close()
    await asyncio.wait_for(merchant.hung_up.wait(), 10)
    event = await the_event(gateway)
    assert (event.status_code, event.outcome) == (200, usage.ANSWERED)
    # What the sockets hold, and not what came afterwards.
    assert 100_000 <= event.response_payload_size_bytes < 30_000_000


async def test_a_slow_reader_of_a_large_answer_costs_little_memory(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    sent = 0

    async def large(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        nonlocal sent
        writer.transport.set_write_buffer_limits(high=0)
        writer.write(OK + b"Content-Length: 200000000\r\n\r\n")
        for _ in range(2000):
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    merchant.answer = large
    reader, writer = await connect_narrow(gateway.port)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    writer.write(head(granted, "Content-Length: 0"))
    await reader.readline()
    settled = -1
    while settled != sent:
        settled = sent
        await asyncio.sleep(0.3)
    # What the kernel's buffers and ours hold between the merchant and a consumer who reads nothing.
    assert sent < 30_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 20_000
    size = 0
    while piece := await reader.read(1 << 20):
        size += len(piece)
        if size >= 200_000_000:
            break
    writer.close()
    event = await the_event(gateway)
    assert (event.outcome, event.response_payload_size_bytes) == (usage.ANSWERED, 200_000_000)


async def test_a_merchant_that_reads_slowly_holds_the_consumer_back(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        while await reader.read(1 << 20):
            pass
        writer.close()

    server = await asyncio.start_server(slow, sock=narrow_listener(), limit=1024)
    await granted.write_service(base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.transport.set_write_buffer_limits(high=0)
    writer.write(head(granted, "Content-Length: 90000000"))
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 90_000_000:
            writer.write(b"x" * 100_000)
            await asyncio.wait_for(writer.drain(), 1)
            sent += 100_000
    assert sent < 30_000_000
    writer.transport.abort()
    release.set()
    event = await the_event(gateway)
    assert event.outcome == usage.CLIENT_CLOSED
    server.close()


async def test_a_merchant_that_doesnt_answer_in_time_is_504_and_isnt_billable(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    merchant.answer = never_answer
    await granted.write_service(forwarding=ForwardingSettings(first_byte_timeout_s=1))
    async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (504, "upstream_timeout")
    event = await the_event(gateway)
    assert (event.status_code, event.outcome) == (504, usage.UPSTREAM_FAILED)
    await asyncio.wait_for(merchant.hung_up.wait(), 10)


async def test_a_merchant_that_isnt_there_is_502_and_isnt_metered(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    await granted.write_service(base_url="http://127.0.0.1:1")
    async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (
            502,
            "upstream_unreachable",
        )
    assert gateway.events() == []


@pytest.mark.parametrize(
    "start",
    [b"Content-Length: 100\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"],
    ids=["length", "chunked"],
)
async def test_an_answer_that_was_cut_off_is_cut_off_for_the_consumer_too(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant, start: bytes
) -> None:
    merchant.answer = respond_with(OK + start, then_close=True)
    with pytest.raises((ClientPayloadError, ClientConnectionError)):
        async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
            await answer.read()
    event = await the_event(gateway)
    assert (event.status_code, event.outcome) == (200, usage.BROKEN_OFF)
    assert event.response_payload_size_bytes == len(b"hello")


async def test_bytes_are_what_the_upstream_sent_though_the_consumer_took_none_of_them(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    """For that is what its upstream has done, whichever side then breaks off."""
    sent = 300_000
    merchant.answer = respond_with(OK + b"Content-Length: 1000000\r\n\r\n", b"x" * sent, then_close=True)
    # What is sent on waits in sockets and in the gateway.
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(head(granted, "Content-Length: 0"))
    event = await the_event(gateway)
    assert (event.outcome, event.response_payload_size_bytes) == (usage.BROKEN_OFF, sent)
    writer.transport.abort()


async def close_on_reuse(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
    """Answers a connection's first request, and closes on the second without a byte."""
    if getattr(writer.transport, "was_used", False):
        writer.transport.abort()
        return
    writer.transport.was_used = True  # type: ignore[attr-defined]
    await echo(request, reader, writer)


@pytest.mark.parametrize(("method", "status", "calls"), [("PUT", 200, 3), ("POST", 502, 2)])
async def test_a_connection_that_died_while_idle_is_replaced_for_idempotent_calls_only(
    gateway: Running,
    http: ClientSession,
    granted: GrantedKey,
    merchant: Merchant,
    method: str,
    status: int,
    calls: int,
) -> None:
    merchant.answer = close_on_reuse
    url = f"{gateway.url}/api/consume/{granted.slug}/x"
    async with http.request(method, url, data=b"1", headers=granted.headers) as answer:
        assert answer.status == 200
        await answer.read()
    async with http.request(method, url, data=b"2", headers=granted.headers) as answer:
        assert answer.status == status
        await answer.read()
    assert len(merchant.requests) == calls
    assert [event.status_code for event in gateway.events()] == [200, status]


async def test_nothing_is_repeated_once_a_byte_has_come_back(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    url = f"{gateway.url}/api/consume/{granted.slug}/x"
    async with http.put(url, data=b"1", headers=granted.headers) as answer:
        await answer.read()
    merchant.answer = respond_with(b"HTTP/1.1 2", then_close=True)
    async with http.put(url, data=b"2", headers=granted.headers) as answer:
        assert answer.status == 502
    assert len(merchant.requests) == 2


async def test_a_body_above_the_cap_is_refused_however_it_comes(
    settings: Settings, granted: GrantedKey, merchant: Merchant
) -> None:
    async with serve_gateway(replace(settings, max_body_bytes=1000)) as gateway:
        declared = await gateway.raw(head(granted, "Content-Length: 1001"))
        assert declared.startswith(b"HTTP/1.1 413") and b"body_too_large" in declared
        assert merchant.connections == 0
        chunk = b"1f4\r\n" + b"x" * 500 + b"\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head(granted, "Transfer-Encoding: chunked"))
        received = b""
        with contextlib.suppress(ConnectionError):
            for _ in range(3):
                writer.write(chunk)
                await writer.drain()
            received = await asyncio.wait_for(reader.read(65536), 10)
        writer.close()
        assert received.startswith(b"HTTP/1.1 413")
        assert [received.body for received in merchant.requests] == []


async def test_a_body_that_grows_too_long_when_the_merchant_has_had_some_of_it_is_charged_to_nobody(
    settings: Settings, granted: GrantedKey, merchant: Merchant
) -> None:
    async with serve_gateway(replace(settings, max_body_bytes=1000)) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head(granted, "Transfer-Encoding: chunked") + b"1f4\r\n" + b"x" * 500 + b"\r\n")

        async def is_forwarded() -> bool:
            return gateway.runtime.gateway.in_flight == 1

        await eventually(is_forwarded)
        writer.write(b"1f5\r\n" + b"x" * 501 + b"\r\n")
        assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 413")
        writer.close()
        event = await the_event(gateway)
    assert (event.status_code, event.outcome) == (413, usage.REFUSED)


async def test_a_call_that_a_stop_ends_before_its_answer_is_refused(
    settings: Settings, granted: GrantedKey, merchant: Merchant
) -> None:
    merchant.answer = never_answer
    # Kafka is away, so that what was journalled stays to be seen.
    away = replace(settings, kafka_bootstrap_servers="127.0.0.1:1", drain_s=1.0)
    async with serve_gateway(away) as gateway:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head(granted, "Content-Length: 0"))

        async def has_arrived() -> bool:
            return bool(merchant.requests)

        await eventually(has_arrived)
    (event,) = gateway.events()
    assert (event.status_code, event.outcome) == (503, usage.REFUSED)
    writer.close()


async def test_a_full_journal_refuses_calls_with_503(
    settings: Settings, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    away = replace(settings, kafka_bootstrap_servers="127.0.0.1:1", journal_max_bytes=1000, drain_s=0.1)
    codes = []
    async with serve_gateway(away) as gateway:
        for _ in range(10):
            async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
                codes.append(answer.status)
        events = gateway.events()
        async with http.get(f"{gateway.operator_url}/readyz") as answer:
            assert answer.status == 503
    assert set(codes) == {200, 503}
    assert codes.count(200) == len(events) == len(merchant.requests)


async def test_calls_under_way_are_finished_before_a_stop(
    settings: Settings, granted: GrantedKey, merchant: Merchant
) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def late(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        arrived.set()
        await release.wait()
        await echo(request, reader, writer)

    merchant.answer = late
    async with (
        ClientSession(timeout=ClientTimeout(total=20)) as http,
        contextlib.AsyncExitStack() as stack,
    ):
        gateway = await stack.enter_async_context(serve_gateway(settings))
        calling = asyncio.create_task(
            http.post(f"{gateway.url}/api/consume", data=b"x", headers=granted.headers)
        )
        await arrived.wait()
        stopping = asyncio.create_task(stack.aclose())
        await asyncio.sleep(0)
        release.set()
        async with await calling as answer:
            assert (answer.status, await answer.read()) == (200, b"x")
        await stopping
    # Everything was acknowledged, so that nothing was left behind.
    assert left_in(settings) == []
