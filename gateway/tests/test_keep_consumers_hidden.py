"""The merchant learns nothing of who calls: no address, no site, no key, in whatever form it was sent."""

from base64 import b64encode

import pytest
from ams_gateway.testing.consumers import connect, head
from ams_gateway.testing.merchants import Merchant
from ams_gateway.testing.running import GrantedKey, Running

FORGED = (
    "X-Forwarded-For: 127.0.0.1",
    "X_Forwarded_For: 127.0.0.1",
    "x-forwarded_host: internal.example",
    "X-Forwarded-Proto: https",
    "Forwarded: for=127.0.0.1",
    "X-Real-IP: 127.0.0.1",
    "x_real_ip: 127.0.0.1",
    "True-Client-IP: 127.0.0.1",
    "X-Original-URL: /admin",
    "X-Rewrite-URL: /admin",
    "X-HTTP-Method-Override: DELETE",
    "Proxy: http://127.0.0.1:1",
    "Content_Length: 0",
    "Transfer_Encoding: chunked",
    "Proxy-Authorization: Basic YTpi",
    "Remote-User: admin",
    "X-Client-Cert: admin",
)
IDENTIFYING = (
    "Origin: https://consumer.example",
    "Referer: https://consumer.example/page",
    "From: someone@consumer.example",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Mode: cors",
    "Baggage: site=consumer.example",
    "tracestate: consumer.example=1",
    "Via: 1.1 proxy.consumer.example",
    "Via: 1.1 second.consumer.example",
)


async def test_of_what_only_proxies_may_say_nothing_reaches_the_merchant(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    async with connect(gateway) as consumer:
        consumer.send(head(granted, *FORGED, "X-Own: kept", "Content-Length: 5"), b"hello")
        assert (await consumer.answer()).body == b"hello"
    (received,) = merchant.requests
    assert received.header("x-own") == "kept"
    names = {name for name, _ in received.headers}
    assert not names & {line.partition(":")[0].lower() for line in FORGED}
    assert "127.0.0.1" not in repr([field for field in received.headers if field[0] != "host"])
    assert [value for name, value in received.headers if name == "content-length"] == ["5"]


async def test_neither_the_consumers_site_nor_its_address_reaches_the_merchant(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    async with connect(gateway) as consumer:
        address, port = consumer.writer.get_extra_info("sockname")
        consumer.send(head(granted, *IDENTIFYING, method="GET"))
        assert (await consumer.answer("GET")).status == 200
    (received,) = merchant.requests
    fields = repr([field for field in received.headers if field[0] != "host"])
    assert "consumer.example" not in fields and "sec-fetch" not in fields
    assert [value for name, value in received.headers if name == "via"] == ["1.1 ams-gateway"]
    assert address not in fields and str(port) not in fields
    assert granted.consumer_id not in fields
    assert (received.header("host"), received.header("origin")) == (f"127.0.0.1:{merchant.port}", None)


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Basic {basic}",
        "Authorization: ApiKey {key}",
        "Authorization: Bearer {key}",
        "X-Token: {key}",
        "X-Token: Token token={key}",
        "X_Api_Key: {key}",
        "Cookie: session=1; key={key}",
        "Referer: https://a.example/?key={key}",
        "User-Agent: client/{key}",
        "X-Request-Id: {key}",
        "X-Request-Id: {basic}",
        "X-Request-Id: call/{key}/1",
        "Via: 1.1 {key}",
        "tracestate: own={key}",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-{key}",
        "traceparent: 01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-{key}",
    ],
)
async def test_a_key_that_is_sent_twice_reaches_neither_the_merchant_nor_an_event_in_any_form(
    gateway: Running, granted: GrantedKey, merchant: Merchant, line: str
) -> None:
    secret = granted.key.secret
    basic = b64encode(f"user:{secret}".encode()).decode()
    async with connect(gateway) as consumer:
        line = line.format(key=secret, basic=basic)
        path = f"/x?a=1&key={secret}&b=%20&k2={secret.replace('_', '%5F')}"
        consumer.send(head(granted, line, method="GET", path=path))
        assert (await consumer.answer("GET")).status == 200
    (received,) = merchant.requests
    assert received.target == "/base/x?a=1&b=%20"
    (event,) = gateway.events()
    assert event.request_id == ""
    for text in (repr(received), repr(event)):
        assert secret not in text and basic not in text and secret[9:] not in text


async def test_a_key_that_no_header_carries_opens_nothing(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    secret = granted.key.secret
    basic = b64encode(f"{secret}:".encode()).decode()
    for path, line in (
        (f"?api_key={secret}", "X-Own: 1"),
        ("", f"Authorization: Basic {basic}"),
        ("", f"Cookie: key={secret}"),
    ):
        request = f"GET /api/consume/{granted.slug}{path} HTTP/1.1\r\nHost: g\r\n{line}\r\n\r\n"
        answer = await gateway.raw(request.encode())
        assert answer.startswith(b"HTTP/1.1 401 ") and secret.encode() not in answer
    assert merchant.requests == []


async def test_a_path_with_a_key_in_it_is_refused(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    async with connect(gateway) as consumer:
        consumer.send(head(granted, method="GET", path=f"/users/{granted.key.secret}"))
        answer = await consumer.answer("GET")
        assert answer.status == 400 and b"key_in_path" in answer.body
    assert merchant.requests == []


async def test_what_connection_names_takes_no_other_field_away(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    lines = ("Connection: keep-alive, X-Own, Via, X-Request-Id, Host", "X-Own: hop", "X-Request-Id: mine-1")
    async with connect(gateway) as consumer:
        consumer.send(head(granted, *lines, method="GET"))
        assert (await consumer.answer("GET")).header("x-request-id") == "mine-1"
    (received,) = merchant.requests
    assert received.header("x-own") is None
    assert (received.header("via"), received.header("x-request-id")) == ("1.1 ams-gateway", "mine-1")
    assert received.header("host") == f"127.0.0.1:{merchant.port}"
