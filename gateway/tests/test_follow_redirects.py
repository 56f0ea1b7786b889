"""A client that follows an upstream's redirects stays behind the gateway, and never learns the base URL."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import ClientSession
from ams_gateway.testing.merchants import (
    Answerer,
    Merchant,
    Reader,
    RecordedRequest,
    Writer,
    echo,
    respond_with,
    serve_merchant,
)
from ams_gateway.testing.running import GrantedKey, Running

Curl = Callable[..., Awaitable[str]]


def redirect_once(location: str) -> Answerer:
    """307 at the first path, as frameworks do where a slash is missing; then the body comes back."""

    async def answer(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        if request.target == "/base/items":
            fields = f"Location: {location}\r\nContent-Location: {location}\r\nContent-Length: 0\r\n"
            writer.write(f"HTTP/1.1 307 Temporary Redirect\r\n{fields}\r\n".encode())
        else:
            await echo(request, reader, writer)

    return answer


@pytest.mark.parametrize("location", ["{base}/items/", "/base/items/", "items/", "{base}/items/?page=2#top"])
async def test_curl_follows_a_redirect_with_its_body_through_the_gateway(
    gateway: Running, granted: GrantedKey, merchant: Merchant, curl: Curl, location: str
) -> None:
    merchant.answer = redirect_once(location.format(base=granted.base_url))
    key = f"X-API-Key: {granted.key.secret}"
    url = f"{gateway.url}/api/consume/{granted.slug}/items"
    printed = await curl("-L", "-d", "hello", "-H", key, "-w", "\n%{url_effective}\n%{http_code}", url)
    body, effective, status = printed.split("\n")
    assert (body, status) == ("hello", "200")
    assert effective.startswith(f"{gateway.url}/api/consume/{granted.slug}/items/")
    first, second = merchant.requests
    assert (first.method, second.method, second.body) == ("POST", "POST", b"hello")
    assert second.target.startswith("/base/items/")


async def test_a_redirect_of_the_form_without_path_leads_into_the_services_own_path(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    merchant.answer = respond_with(
        f"HTTP/1.1 303 See Other\r\nLocation: {granted.base_url}/jobs/7\r\nContent-Length: 0\r\n\r\n".encode()
    )
    async with http.post(
        f"{gateway.url}/api/consume", headers=granted.headers, allow_redirects=False
    ) as answer:
        assert answer.headers["Location"] == f"/api/consume/{granted.slug}/jobs/7"


@pytest.fixture
async def elsewhere() -> AsyncIterator[Merchant]:
    async with serve_merchant() as merchant:
        yield merchant


async def test_a_redirect_to_another_host_passes_and_takes_no_key_along(
    gateway: Running, granted: GrantedKey, merchant: Merchant, elsewhere: Merchant, curl: Curl
) -> None:
    target = elsewhere.url("/items/", host="localhost")
    merchant.answer = redirect_once(target)
    url = f"{gateway.url}/api/consume/{granted.slug}/items"
    secret = granted.key.secret
    printed = await curl("-L", "-d", "hello", "--oauth2-bearer", secret, "-w", "\n%{url_effective}", url)
    assert printed == f"hello\n{target}"
    assert secret not in repr(elsewhere.requests)


@pytest.mark.parametrize(
    "location",
    [
        "{origin}/admin",
        "/admin",
        "//127.0.0.1:{port}/admin",
        "/base/../admin",
        "https://127.0.0.1:{port}/base/x",
    ],
)
async def test_an_address_of_the_merchants_origin_that_nobody_may_reach_is_left_out(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant, location: str
) -> None:
    merchant.answer = redirect_once(location.format(origin=merchant.url(), port=merchant.port))
    url = f"{gateway.url}/api/consume/{granted.slug}/items"
    async with http.get(url, headers=granted.headers, allow_redirects=False) as answer:
        assert answer.status == 307
        assert "Location" not in answer.headers and "Content-Location" not in answer.headers
        assert str(merchant.port) not in str(answer.headers)


async def test_pages_of_a_list_are_found_behind_the_gateway(
    gateway: Running, http: ClientSession, granted: GrantedKey, merchant: Merchant
) -> None:
    links = f'<{granted.base_url}/items?page=2>; rel="next", </base/items?page=9>; rel=last'
    merchant.answer = respond_with(f"HTTP/1.1 200 OK\r\nLink: {links}\r\nContent-Length: 0\r\n\r\n".encode())
    url = f"{gateway.url}/api/consume/{granted.slug}"
    async with http.get(f"{url}/items", headers=granted.headers) as answer:
        assert str(answer.links["next"]["url"]) == f"{url}/items?page=2"
        assert str(answer.links["last"]["url"]) == f"{url}/items?page=9"
    async with http.get(answer.links["next"]["url"], headers=granted.headers):
        pass
    assert merchant.requests[-1].target == "/base/items?page=2"
