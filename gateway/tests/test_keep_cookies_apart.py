"""Two services behind one host, and one client with one cookie jar: no cookie of one reaches the other."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession, CookieJar, DummyCookieJar
from ams.catalog.v1.forwarding_pb2 import ForwardingSettings
from ams_common.web import COOKIE_NAMES
from ams_gateway.testing.consumers import connect, head
from ams_gateway.testing.merchants import (
    Answerer,
    Merchant,
    Reader,
    RecordedRequest,
    Writer,
    serve_merchant,
)
from ams_gateway.testing.running import GrantedKey, Running
from redis.asyncio import Redis


def set_cookies(*values: str) -> Answerer:
    async def answer(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        lines = "".join(f"Set-Cookie: {value}\r\n" for value in values)
        writer.write(f"HTTP/1.1 204 No Content\r\n{lines}\r\n".encode())

    return answer


@pytest.fixture
async def other() -> AsyncIterator[Merchant]:
    async with serve_merchant() as merchant:
        yield merchant


async def grant(redis: "Redis", merchant: Merchant, *, passes_cookies: bool = True) -> GrantedKey:
    granted = GrantedKey(redis, merchant.url())
    await granted.write_key()
    await granted.write_service(forwarding=ForwardingSettings(passes_cookies=passes_cookies))
    return granted


async def call(http: ClientSession, gateway: Running, granted: GrantedKey, path: str = "/x") -> list[str]:
    """The cookies that the answer sets."""
    url = f"http://localhost:{gateway.port}/api/consume/{granted.slug}{path}"
    async with http.get(url, headers={"X-API-Key": granted.key.secret}) as answer:
        assert answer.status in (200, 204)
        return answer.headers.getall("Set-Cookie", [])


@pytest.mark.parametrize(
    ("cookie", "below"),
    [
        ("sid=a; Path=/; HttpOnly", ""),
        ("sid=a", ""),
        ("sid=a; Domain=localhost; Path=/", ""),
        # Of the merchant's own paths, whatever they would mean on AMS's host.
        ("sid=a; Domain=.localhost; Path=/api/consume", "/api/consume"),
        ("sid=a; path=/; PATH=/y; domain=localhost", "/y"),
    ],
)
async def test_what_one_service_sets_comes_back_to_it_and_never_to_another(
    gateway: Running, redis: "Redis", merchant: Merchant, other: Merchant, cookie: str, below: str
) -> None:
    merchant.answer = set_cookies(cookie)
    first, second = await grant(redis, merchant), await grant(redis, other)
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as http:
        (kept,) = await call(http, gateway, first)
        assert kept.endswith(f"; Path=/api/consume/{first.slug}{below}")
        assert "domain" not in kept.lower()
        assert ("HttpOnly" in kept) == ("HttpOnly" in cookie)
        await call(http, gateway, first, f"{below}/y/z")
        for path in ("/x", below):
            await call(http, gateway, second, path)
    assert [received.header("cookie") for received in merchant.requests] == [None, "sid=a"]
    assert [received.header("cookie") for received in other.requests] == [None, None]


async def test_curls_jar_keeps_them_apart_too(
    gateway: Running,
    redis: "Redis",
    merchant: Merchant,
    other: Merchant,
    tmp_path: Path,
    curl: Callable[..., Awaitable[str]],
) -> None:
    merchant.answer = set_cookies("sid=a; Path=/; HttpOnly", "wide=b; Domain=localhost; Path=/")
    first, second = await grant(redis, merchant), await grant(redis, other)
    jar = str(tmp_path / "jar")
    for granted in (first, second, first):
        url = f"http://localhost:{gateway.port}/api/consume/{granted.slug}/x"
        await curl("-c", jar, "-b", jar, "-H", f"X-API-Key: {granted.key.secret}", url)
    again = merchant.requests[1].header("cookie") or ""
    assert sorted(again.split("; ")) == ["sid=a", "wide=b"]
    assert other.requests[0].header("cookie") is None


@pytest.mark.parametrize("passes_cookies", [True, False])
async def test_ams_own_cookies_reach_no_merchant_and_are_set_by_none(
    gateway: Running, redis: "Redis", merchant: Merchant, passes_cookies: bool
) -> None:
    granted = await grant(redis, merchant, passes_cookies=passes_cookies)
    ours = [f"{name}=session-secret" for name in COOKIE_NAMES]
    merchant.answer = set_cookies(*ours, *(f"{cookie}; Path=/; Domain=localhost" for cookie in ours))
    url = f"{gateway.url}/api/consume/{granted.slug}/x"
    fields = {"X-API-Key": granted.key.secret, "Cookie": "; ".join([*ours, "sid=a"])}
    async with (
        ClientSession(cookie_jar=DummyCookieJar()) as http,
        http.get(url, headers=fields) as answer,
    ):
        assert answer.headers.getall("Set-Cookie", []) == []
    assert merchant.requests[0].header("cookie") == ("sid=a" if passes_cookies else None)
    assert "session-secret" not in repr(merchant.requests)


async def test_a_service_that_wants_no_cookies_neither_gets_nor_sets_any(
    gateway: Running, redis: "Redis", merchant: Merchant
) -> None:
    merchant.answer = set_cookies("sid=a; Path=/")
    granted = await grant(redis, merchant, passes_cookies=False)
    async with ClientSession(cookie_jar=DummyCookieJar(), headers={"Cookie": "sid=b"}) as http:
        assert await call(http, gateway, granted) == []
    assert merchant.requests[0].header("cookie") is None


async def test_calls_without_a_path_pass_no_cookie(
    gateway: Running, redis: "Redis", merchant: Merchant
) -> None:
    """A jar would send what one service set there to all others, for they have the same path."""
    merchant.answer = set_cookies("sid=a; Path=/")
    granted = await grant(redis, merchant)
    fields = granted.headers | {"Cookie": "sid=b"}
    async with (
        ClientSession(cookie_jar=DummyCookieJar()) as http,
        http.post(f"{gateway.url}/api/consume", headers=fields) as answer,
    ):
        assert "Set-Cookie" not in answer.headers
    assert merchant.requests[0].header("cookie") is None


async def test_several_cookie_lines_are_filtered_as_one(
    gateway: Running, redis: "Redis", merchant: Merchant
) -> None:
    granted = await grant(redis, merchant)
    lines = (
        "Cookie: a=1; ams_session=s",
        f"cookie: __Host-ams_session=s; b=2; k={granted.key.secret}",
        "COOKIE: ams_theme=dark",
    )
    async with connect(gateway) as consumer:
        consumer.send(head(granted, *lines, method="GET"))
        assert (await consumer.answer("GET")).status == 200
    values = [value for name, value in merchant.requests[0].headers if name == "cookie"]
    assert values == ["a=1; b=2"]
