"""Requests that two readers would cut up differently: refused, or made unambiguous, never passed on."""

import asyncio

import pytest
from ams_gateway.testing.merchants import Merchant
from ams_gateway.testing.running import GrantedKey, Running

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: g\r\n\r\n"


def request(granted: GrantedKey, *lines: str, body: bytes = b"") -> bytes:
    fields = [f"POST /api/consume/{granted.slug} HTTP/1.1", f"X-API-Key: {granted.key.secret}", *lines]
    return ("\r\n".join(fields) + "\r\n\r\n").encode("latin-1") + body


ATTACKS: dict[str, tuple[list[str], bytes]] = {
    "length and chunked": (
        ["Host: g", "Content-Length: 4", "Transfer-Encoding: chunked"],
        b"0\r\n\r\n" + SMUGGLED,
    ),
    "chunked and length": (
        ["Host: g", "Transfer-Encoding: chunked", "Content-Length: 4"],
        b"0\r\n\r\n" + SMUGGLED,
    ),
    "two lengths": (["Host: g", "Content-Length: 0", "Content-Length: 35"], SMUGGLED),
    "a list of lengths": (["Host: g", "Content-Length: 0, 35"], SMUGGLED),
    "a signed length": (["Host: g", "Content-Length: +35"], SMUGGLED),
    "another coding": (["Host: g", "Transfer-Encoding: gzip, chunked"], b"0\r\n\r\n" + SMUGGLED),
    "chunked twice": (["Host: g", "Transfer-Encoding: chunked, chunked"], b"0\r\n\r\n" + SMUGGLED),
    "coding in two lines": (["Host: g", "Transfer-Encoding: x", "Transfer-Encoding: chunked"], b"0\r\n\r\n"),
    "a space before the colon": (["Host: g", "Transfer-Encoding : chunked"], b"0\r\n\r\n" + SMUGGLED),
    "a folded line": (["Host: g", "Transfer-Encoding:\r\n chunked"], b"0\r\n\r\n" + SMUGGLED),
    "a control character": (["Host: g", "Transfer-Encoding: \x0bchunked"], b"0\r\n\r\n" + SMUGGLED),
    "a bad chunk size": (["Host: g", "Transfer-Encoding: chunked"], b"0x5\r\nhello\r\n0\r\n\r\n"),
    "two hosts": (["Host: g", "Host: h"], b""),
    "no host": ([], b""),
    "two keys": (["Host: g", "X-API-Key: other"], b""),
    "a NUL": (["Host: g", "X-A: a\x00b"], b""),
    "a bare line feed": (["Host: g\nX-B: c"], b""),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_ambiguous_request_is_refused_and_reaches_nobody(
    gateway: Running, granted: GrantedKey, merchant: Merchant, attack: str
) -> None:
    lines, body = ATTACKS[attack]
    answer = await gateway.raw(request(granted, *lines, body=body))
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 502 ")), answer
    # Once the framing is in doubt, what follows on the connection is never looked at.
    assert answer.count(b"\r\n\r\n") == 1
    assert not [received for received in merchant.requests if "smuggled" in received.target or received.body]


async def test_a_consumers_trailer_is_no_header(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    """All in one packet: uvicorn would hand both over in one list."""
    chunked = f"POST /api/consume/{granted.slug} HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n"
    trailer = f"5\r\nhello\r\n0\r\nX-API-Key: {granted.key.secret}\r\nX-Own: evil\r\n\r\n"
    answer = await gateway.raw(chunked.encode() + trailer.encode())
    assert b"key_missing" in answer
    body = b"5\r\nhello\r\n0\r\nX-Own: evil\r\nX-AMS-Service: evil\r\n\r\n"
    answer = await gateway.raw(request(granted, "Host: g", "Transfer-Encoding: chunked", body=body))
    assert answer.startswith(b"HTTP/1.1 200 ") and b"hello" in answer
    (received,) = merchant.requests
    assert (received.body, received.header("x-own")) == (b"hello", None)


async def test_pipelined_requests_are_answered_one_by_one_in_their_order(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    pieces = [request(granted, "Host: g", "Content-Length: 3", body=b"%03d" % number) for number in range(5)]
    answer = await gateway.raw(b"".join(pieces))
    assert answer.count(b"HTTP/1.1 200 ") == 5
    assert [received.body for received in merchant.requests] == [b"%03d" % number for number in range(5)]


async def test_the_framing_is_written_anew(gateway: Running, granted: GrantedKey, merchant: Merchant) -> None:
    lines = ["Host: g", "Connection: close, Content-Length, X-Hop", "X-Hop: 1", "Content-Length: 5"]
    answer = await gateway.raw(request(granted, *lines, "Keep-Alive: x", "TE: trailers", body=b"hello"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    (received,) = merchant.requests
    assert received.body == b"hello"
    names = [name for name, _ in received.headers]
    assert names.count("content-length") == 1
    assert not {"connection", "keep-alive", "te", "x-hop"} & set(names)


@pytest.mark.parametrize("path", ["..", "x/%2e%2e/%2e%2e/y", "..%2fadmin", "a%5c..%5c..%5cb"])
async def test_a_path_that_leaves_the_base_url_is_refused(
    gateway: Running, granted: GrantedKey, merchant: Merchant, path: str
) -> None:
    line = f"GET /api/consume/{granted.slug}/{path} HTTP/1.1\r\n"
    answer = await gateway.raw(f"{line}Host: g\r\nX-API-Key: {granted.key.secret}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ") and b"path_invalid" in answer
    assert merchant.requests == []


@pytest.mark.parametrize(
    "head",
    [b"X-A: " + b"a" * 40_000 + b"\r\n\r\n", b"X-A: " + b"a" * 400_000, b"X-A: a\r\n" * 100_000],
    ids=["above the cap", "a header without end", "headers without end"],
)
async def test_headers_above_the_cap_are_refused(
    gateway: Running, granted: GrantedKey, merchant: Merchant, head: bytes
) -> None:
    answer = await gateway.raw(request(granted, "Host: g")[:-2] + head)
    # A kernel that still has bytes for us may answer with a reset before our answer is read.
    assert answer == b"" or (answer.startswith(b"HTTP/1.1 431 ") and b"headers_too_large" in answer)
    assert merchant.requests == []


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("CONNECT a:1 HTTP/1.1", 400),
        ("TRACE /api/consume/x HTTP/1.1", 501),
        ("GET /api/consume/x HTTP/2.0", 505),
    ],
)
async def test_methods_and_versions_that_arent_forwarded(gateway: Running, line: str, status: int) -> None:
    answer = await gateway.raw(f"{line}\r\nHost: g\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 %d" % status) or (
        status == 400 and not answer.startswith(b"HTTP/1.1 200")
    )


async def test_each_request_of_a_connection_is_read_by_its_own_head(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    same = ["Host: g", "Content-Length: 1", "X-Own: 1"]
    pieces = [
        request(granted, *same, body=b"a"),
        request(granted, *same, body=b"b"),
        request(granted, "Host: g", "Content-Length: 1", "X-Own: 2", body=b"c"),
        request(granted, *same, body=b"d").replace(granted.key.secret.encode(), b"ams_live_none"),
        request(granted, *same, body=b"e"),
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    statuses = []
    for piece in pieces:
        writer.write(piece)
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).lower()
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        statuses.append(head.split(b" ")[1])
    writer.close()
    assert statuses == [b"200", b"200", b"200", b"401", b"200"]
    assert [(received.body, received.header("x-own")) for received in merchant.requests] == [
        (b"a", "1"),
        (b"b", "1"),
        (b"c", "2"),
        (b"e", "1"),
    ]


async def test_requests_to_both_kinds_of_path_are_answered_in_their_order(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    health = b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n"
    call = request(granted, "Host: g", "Content-Length: 6", body=b"called")
    answer = await gateway.raw(health + call + health + call + call)
    bodies = [piece.split(b"HTTP/1.1 ")[0] for piece in answer.split(b"\r\n\r\n")[1:]]
    assert bodies == [b"ok\n", b"called", b"ok\n", b"called", b"called"]


@pytest.mark.parametrize(
    "target", ["/api/consume/ü", "/api/consume#x", "http://g/api/consume", "/api//consume"]
)
async def test_odd_targets_are_read_alike_behind_both_entries(
    gateway: Running, granted: GrantedKey, merchant: Merchant, target: str
) -> None:
    head = f"POST {target} HTTP/1.1\r\nHost: g\r\nX-API-Key: {granted.key.secret}\r\nContent-Length: 0\r\n"
    answer = await gateway.raw(f"{head}X-AMS-Service: {granted.slug}\r\n\r\n".encode("latin-1"))
    expected = {"http://g/api/consume": b"200", "/api/consume#x": b"400", "/api//consume": b"404"}
    assert answer.split(b" ")[1] == expected.get(target, b"400")


async def test_a_consumer_who_asks_first_is_told_to_go_on(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(request(granted, "Host: g", "Content-Length: 5", "Expect: 100-continue"))
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).startswith(b"HTTP/1.1 100 ")
    writer.write(b"hello")
    assert (await asyncio.wait_for(reader.readuntil(b"hello"), 10)).startswith(b"HTTP/1.1 200 ")
    writer.close()
    assert [received.header("expect") for received in merchant.requests] == [None]
