"""Clients that half-close, pipeline, offer HTTP/2 or speak HTTP/1.0 are served as any other."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from ams.usage.v1 import events_pb2 as usage
from ams_common.testing.eventually import eventually
from ams_gateway.settings import Settings
from ams_gateway.testing.consumers import connect, head
from ams_gateway.testing.merchants import (
    Answerer,
    Merchant,
    Reader,
    RecordedRequest,
    Writer,
    echo,
    never_answer,
    respond_with,
)
from ams_gateway.testing.running import GrantedKey, Running

OK = b"HTTP/1.1 200 OK\r\n"
# As curl and Java's HttpClient offer it on plain HTTP.
OFFERS_H2C = (
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
)


def echo_after(seconds: float) -> Answerer:
    async def answer(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        await asyncio.sleep(seconds)
        await echo(request, reader, writer)

    return answer


async def test_a_client_that_offers_h2c_is_answered_over_http_1_with_its_body_whole(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    async with connect(gateway) as consumer:
        for body in (b"hello", b"x" * 200_000):
            consumer.send(head(granted, *OFFERS_H2C, f"Content-Length: {len(body)}"), body)
            answer = await consumer.answer()
            assert (answer.status, answer.body) == (200, body)
    for received in merchant.requests:
        assert received.header("upgrade") is received.header("http2-settings") is None


async def test_curl_that_offers_http_2_is_served(
    gateway: Running, granted: GrantedKey, merchant: Merchant, curl: Callable[..., Awaitable[str]]
) -> None:
    url = f"{gateway.url}/api/consume/{granted.slug}"
    key = f"X-API-Key: {granted.key.secret}"
    printed = await curl("--http2", "-d", "hello", "-H", key, "-w", "\n%{http_version} %{http_code}", url)
    assert printed == "hello\n1.1 200"
    assert merchant.requests[0].body == b"hello"


@pytest.mark.parametrize("seconds", [0.0, 0.5, 3.0])
async def test_a_client_that_half_closes_after_its_request_gets_its_answer(
    gateway: Running, granted: GrantedKey, merchant: Merchant, seconds: float
) -> None:
    merchant.answer = echo_after(seconds)
    async with connect(gateway) as consumer:
        consumer.send(head(granted, "Content-Length: 5"), b"hello")
        consumer.writer.write_eof()
        answer = await consumer.answer()
        assert (answer.status, answer.body) == (200, b"hello")
        # Nothing more can be asked on it.
        assert await consumer.rest() == b""
    (event,) = gateway.events()
    assert (event.status_code, event.outcome) == (200, usage.ANSWERED)


async def test_a_client_that_half_closes_amid_its_request_is_not_waited_for(
    gateway: Running, granted: GrantedKey
) -> None:
    async with connect(gateway) as consumer:
        consumer.send(head(granted, "Content-Length: 5"), b"he")
        consumer.writer.write_eof()
        assert not (await consumer.rest()).startswith(b"HTTP/1.1 200")


async def test_pipelined_requests_are_all_answered_though_the_client_half_closes(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    merchant.answer = echo_after(0.1)
    async with connect(gateway) as consumer:
        for number in range(5):
            consumer.send(head(granted, "Content-Length: 1"), b"%d" % number)
        consumer.writer.write_eof()
        answers = [await consumer.answer() for _ in range(5)]
        assert [answer.body for answer in answers] == [b"0", b"1", b"2", b"3", b"4"]
        assert await consumer.rest() == b""
    assert len(gateway.events()) == 5


@pytest.mark.parametrize(
    "line", ["TRACE /api/consume HTTP/1.1", "POST /api/consume HTTP/1.1\r\nTransfer-Encoding: x", "damaged"]
)
async def test_what_cant_be_served_takes_no_answer_from_what_came_before(
    gateway: Running, granted: GrantedKey, merchant: Merchant, line: str
) -> None:
    """It comes while two requests wait for their answers, together with a third that may be served or not."""
    merchant.answer = echo_after(0.3)
    async with connect(gateway) as consumer:
        for number in range(2):
            consumer.send(head(granted, "Content-Length: 1"), b"%d" % number)

        async def has_arrived() -> bool:
            return bool(merchant.requests)

        await eventually(has_arrived)
        consumer.send(head(granted, "Content-Length: 1"), b"2", f"{line}\r\nHost: g\r\n\r\n".encode())
        answers = [await consumer.answer() for _ in range(2)]
        assert [answer.body for answer in answers] == [b"0", b"1"]
        await consumer.rest()

    async def are_metered() -> bool:
        return len(gateway.events()) == len(merchant.requests)

    await eventually(are_metered)
    assert {event.outcome for event in gateway.events()} == {usage.ANSWERED}


async def test_a_client_that_closes_is_noticed_though_it_looks_like_a_half_close(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    """Until something is written, both ends look the same: the gateway has to find out within 10 s."""
    merchant.answer = never_answer
    async with connect(gateway) as consumer:
        consumer.send(head(granted, "Content-Length: 5"), b"hello")

        async def has_arrived() -> bool:
            return bool(merchant.requests)

        await eventually(has_arrived)
        consumer.writer.close()
        await asyncio.wait_for(merchant.hung_up.wait(), 10)

    async def events() -> list[usage.UsageEvent]:
        return gateway.events()

    (event,) = await eventually(events)
    assert (event.status_code, event.outcome) == (499, usage.CLIENT_CLOSED)


ANSWERS = {
    "with its length": (OK + b"Content-Length: 5\r\n\r\nhello", False),
    "chunked": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", False),
    "until its end": (OK + b"\r\nhello", True),
}


@pytest.mark.parametrize("form", ANSWERS)
async def test_a_client_of_http_1_0_gets_any_answer_up_to_the_end_of_the_connection(
    gateway: Running, granted: GrantedKey, merchant: Merchant, form: str
) -> None:
    data, ends = ANSWERS[form]
    merchant.answer = respond_with(data, then_close=ends)
    for _ in range(3):
        async with connect(gateway) as consumer:
            consumer.send(head(granted, method="GET", version="1.0"))
            answer = await consumer.answer("GET")
            assert (answer.status, answer.body) == (200, b"hello")
            assert answer.header("transfer-encoding") is None
            assert await consumer.rest() == b""


async def test_a_client_of_http_1_0_needs_no_host(gateway: Running, granted: GrantedKey) -> None:
    line = f"GET /api/consume/{granted.slug} HTTP/1.0\r\nX-API-Key: {granted.key.secret}\r\n\r\n"
    assert b" 200 OK\r\n" in await gateway.raw(line.encode())


async def test_a_client_of_http_1_0_that_asks_for_it_keeps_its_connection(
    settings: Settings, gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    """As `ab -k` does: it goes on only where the answer says so, and has a length."""
    if not settings.consume_protocol:
        # h11 closes after each request of HTTP/1.0, and says so.
        async with connect(gateway) as consumer:
            consumer.send(head(granted, "Connection: Keep-Alive", method="GET", version="1.0"))
            assert (await consumer.answer("GET")).header("connection") == "close"
            assert await consumer.rest() == b""
        return
    async with connect(gateway) as consumer:
        for _ in range(3):
            lines = ("Connection: Keep-Alive", "Content-Length: 5")
            consumer.send(head(granted, *lines, version="1.0"), b"hello")
            answer = await consumer.answer()
            assert (answer.body, answer.header("connection")) == (b"hello", "keep-alive")
        merchant.answer = respond_with(ANSWERS["chunked"][0])
        consumer.send(head(granted, "Connection: Keep-Alive", method="GET", version="1.0"))
        answer = await consumer.answer("GET")
        assert (answer.body, answer.header("transfer-encoding")) == (b"hello", None)
        assert await consumer.rest() == b""


async def test_a_client_of_http_1_0_that_doesnt_ask_for_it_is_closed_after_a_refusal_too(
    gateway: Running, granted: GrantedKey
) -> None:
    async with connect(gateway) as consumer:
        consumer.send(b"GET /api/consume/x HTTP/1.0\r\n\r\n")
        answer = await consumer.answer("GET")
        assert (answer.status, answer.header("transfer-encoding")) == (401, None)
        assert await consumer.rest() == b""
