"""What reaches the merchant, and what comes back, in every form that HTTP/1.1 has for it."""

import hashlib
import io
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from ams.usage.v1 import events_pb2 as usage
from ams_gateway.testing.merchants import Merchant, RecordedRequest, respond_with
from ams_gateway.testing.running import GrantedKey, Running

OK = b"HTTP/1.1 200 OK\r\n"


async def test_post_goes_to_the_base_url_itself(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    headers = granted.headers | {"Content-Type": "text/plain", "X-Own": "1"}
    async with http.post(f"{gateway.url}/api/consume?a=1&b=%20", data=b"hello", headers=headers) as answer:
        assert (answer.status, await answer.read()) == (200, b"hello")
        request_id = answer.headers["X-Request-Id"]
    (received,) = merchant.requests
    assert (received.method, received.target, received.body) == ("POST", "/base?a=1&b=%20", b"hello")
    assert received.header("host") == f"127.0.0.1:{merchant.port}"
    assert (received.header("content-type"), received.header("x-own")) == ("text/plain", "1")
    assert (received.header("x-request-id"), received.header("via")) == (request_id, "1.1 ams-gateway")
    assert received.header("traceparent") is not None


async def test_the_key_never_reaches_the_merchant(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    secret = granted.key.secret
    for headers in (
        {"Authorization": f"Bearer {secret}"},
        {"X-API-Key": secret},
        {"X-API-Key": secret, "Authorization": f"Bearer {secret}", "X-AMS-Trick": secret},
    ):
        async with http.get(f"{gateway.url}/api/consume/{granted.slug}/x", headers=headers) as answer:
            assert answer.status == 200
    assert len(merchant.requests) == 3
    assert secret not in repr(merchant.requests)
    assert not [
        name for received in merchant.requests for name, _ in received.headers if name.startswith("x-ams")
    ]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
async def test_any_method_goes_through_with_its_path_byte_for_byte(
    gateway: Running, granted: GrantedKey, merchant: Merchant, method: str
) -> None:
    path = f"/api/consume/{granted.service_id}/a%2Fb//c%20d;x=1?q=%2f&q"
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: g\r\nX-API-Key: {granted.key.secret}\r\nConnection: close\r\n\r\n"
    )
    assert (await gateway.raw(head.encode())).startswith(b"HTTP/1.1 200")
    (received,) = merchant.requests
    assert (received.method, received.target) == (method, "/base/a%2Fb//c%20d;x=1?q=%2f&q")


async def test_one_connection_serves_call_after_call(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    for number in range(20):
        async with http.post(
            f"{gateway.url}/api/consume", data=b"%d" % number, headers=granted.headers
        ) as answer:
            assert await answer.read() == b"%d" % number
    assert (len(merchant.requests), merchant.connections) == (20, 1)


ANSWERS = {
    "length": ([OK + b"Content-Length: 5\r\n\r\nhello"], 200, b"hello"),
    "length in pieces": ([OK + b"Content-Le", b"ngth: 5\r\n\r\nhe", b"l", b"lo"], 200, b"hello"),
    "chunked": ([OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"], 200, b"hello"),
    "chunked in pieces": (
        [OK + b"transfer-encoding: Chunked\r\n\r\n2", b"\r\nhe\r\n3\r\nl", b"lo\r\n0\r\n\r\n"],
        200,
        b"hello",
    ),
    "until the end": ([OK + b"\r\nhel", b"lo"], 200, b"hello"),
    "HTTP/1.0": ([b"HTTP/1.0 200 OK\r\n\r\nhello"], 200, b"hello"),
    "empty": ([OK + b"Content-Length: 0\r\n\r\n"], 200, b""),
    "204": ([b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"], 204, b""),
    "304": ([b"HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 5\r\n\r\n"], 304, b""),
    "100 and 103 first": (
        [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nContent-Length: 99\r\n\r\n",
         OK + b"Content-Length: 2\r\n\r\nok"],
        200,
        b"ok",
    ),
    "500": ([b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno"], 500, b"no"),
}  # fmt: skip


@pytest.mark.parametrize("form", ANSWERS)
async def test_every_form_of_answer_comes_back_whole(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant, form: str
) -> None:
    parts, status, body = ANSWERS[form]
    merchant.answer = respond_with(*parts, then_close=form in ("until the end", "HTTP/1.0"))
    for _ in range(2):
        async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
            assert (answer.status, await answer.read()) == (status, body)
            assert "ETag" not in answer.headers or status == 304
    events = gateway.events()
    assert [event.status_code for event in events] == [status] * 2
    assert [event.outcome for event in events] == [usage.ANSWERED] * 2
    assert [event.response_payload_size_bytes for event in events] == [len(body)] * 2
    assert merchant.connections == (2 if form in ("until the end", "HTTP/1.0") else 1)


async def test_head_has_no_body_but_its_length_and_the_connection_lives_on(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    url = f"{gateway.url}/api/consume/{granted.slug}/x"
    merchant.answer = respond_with(OK + b"Content-Length: 1000\r\n\r\n")
    for _ in range(2):
        async with http.head(url, headers=granted.headers) as answer:
            assert (answer.status, answer.headers["Content-Length"]) == (200, "1000")
    merchant.answer = respond_with(OK + b"Content-Length: 2\r\n\r\nok")
    async with http.get(url, headers=granted.headers) as answer:
        assert await answer.read() == b"ok"
    assert merchant.connections == 1


BAD_ANSWERS = {
    "not HTTP": b"SSH-2.0-OpenSSH\r\n",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "odd status": b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunked": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "gzip coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "identity coding": OK + b"Transfer-Encoding: identity\r\n\r\nabc",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "one huge header": OK + b"X-Big: " + b"a" * 100_000 + b"\r\n\r\n",
    "a head without end": OK + b"X-Big: aaaaaaaa\r\n" * 10_000,
    "folded header": OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "control character": OK + b"X: a\x01b\r\nContent-Length: 0\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("form", BAD_ANSWERS)
async def test_what_is_no_answer_becomes_502_and_isnt_billable(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant, form: str
) -> None:
    merchant.answer = respond_with(BAD_ANSWERS[form], then_close=True)
    async with http.post(f"{gateway.url}/api/consume", data=b"x", headers=granted.headers) as answer:
        problem = await answer.json(content_type="application/problem+json")
        assert (answer.status, problem["code"]) == (502, "upstream_failed")
    (event,) = gateway.events()
    assert (event.status_code, event.outcome) == (502, usage.UPSTREAM_FAILED)


async def test_a_trailer_touches_no_header(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    trailer = b"0\r\nX-Own: evil\r\nContent-Type: evil\r\nSet-Cookie: evil=1\r\n\r\n"
    merchant.answer = respond_with(
        OK + b"X-Own: good\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n" + trailer
    )
    async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
        assert await answer.read() == b"a"
        assert answer.headers.getall("X-Own") == ["good"]
        assert "evil" not in str(answer.headers)


async def test_bytes_that_come_while_a_connection_is_idle_are_nobodys_answer(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    good = OK + b"Content-Length: 2\r\n\r\nok"
    merchant.answer = respond_with(good + OK + b"Content-Length: 4\r\n\r\nevil")
    for _ in range(3):
        async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
            assert await answer.read() == b"ok"
    merchant.answer = respond_with(good, OK + b"Content-Length: 4\r\n\r\nevil")
    for _ in range(3):
        async with http.get(f"{gateway.url}/api/consume/{granted.slug}", headers=granted.headers) as answer:
            assert await answer.read() in (b"ok",)


async def test_bodies_of_any_size_stream_both_ways(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    piece = bytes(range(256)) * 256

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield piece

    whole = hashlib.sha256(piece * 80).hexdigest()
    for data in (pieces(), io.BytesIO(piece * 80)):
        async with http.post(f"{gateway.url}/api/consume", data=data, headers=granted.headers) as answer:
            assert hashlib.sha256(await answer.read()).hexdigest() == whole
    first, second = merchant.requests
    assert (first.header("transfer-encoding"), first.header("content-length")) == ("chunked", None)
    assert (second.header("transfer-encoding"), second.header("content-length")) == (
        None,
        str(len(piece) * 80),
    )
    for event in gateway.events():
        sizes = (event.request_payload_size_bytes, event.response_payload_size_bytes)
        assert sizes == (len(piece) * 80, len(piece) * 80)


async def test_an_event_holds_all_that_the_prd_names(
    gateway: Running, http: ClientSession, granted: GrantedKey
) -> None:
    async with http.post(f"{gateway.url}/api/consume", data=b"hello", headers=granted.headers) as answer:
        request_id = answer.headers["X-Request-Id"]
        await answer.read()
    (event,) = gateway.events()
    assert event.event_id.hex() == request_id.replace("-", "")
    assert (event.event_id[6] >> 4, event.event_id[8] >> 6) == (7, 2)
    assert (event.consumer_id, event.service_id) == (granted.consumer_id, granted.service_id)
    assert (event.key_prefix, event.outcome) == (granted.key.prefix, usage.ANSWERED)
    assert event.api_key_id and event.merchant_id and event.price_version_id
    assert event.timestamp.seconds > 1_700_000_000
    assert (event.request_payload_size_bytes, event.response_payload_size_bytes) == (5, 5)
    assert (event.status_code, event.response_time_ms >= 0) == (200, True)


async def test_a_consumers_request_id_and_trace_go_through(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    own = {"X-Request-Id": "mine-1", "traceparent": trace}
    async with http.post(f"{gateway.url}/api/consume", headers=granted.headers | own) as answer:
        assert answer.headers["X-Request-Id"] == "mine-1"
    received: RecordedRequest = merchant.requests[0]
    assert [received.header(name.lower()) for name in own] == list(own.values())


async def test_health_readiness_and_metrics_answer(
    gateway: Running, http: ClientSession, granted: GrantedKey
) -> None:
    async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
        await answer.read()
    texts = {}
    for path in ("healthz", "readyz", "metrics"):
        async with http.get(f"{gateway.operator_url}/{path}") as answer:
            assert answer.status == 200
            texts[path] = await answer.text()
    assert 'ams_gateway_answers_total{code="200"} 1.0\n' in texts["metrics"]
    async with http.get(f"{gateway.url}/api%2Fconsume", headers=granted.headers) as answer:
        assert answer.status == 404
