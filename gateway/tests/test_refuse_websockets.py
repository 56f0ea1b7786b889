"""What opens no WebSocket: the merchant wants none, the request asks by half or elsewhere, the merchant's API
doesn't accept, or the entry can't."""

import pytest
from ams.usage.v1 import events_pb2 as usage
from ams_gateway.testing.merchants import Merchant, Reader, RecordedRequest, Writer, respond_with
from ams_gateway.testing.running import GrantedKey, Running
from ams_gateway.testing.websockets import SWITCHED, Talker, allow_websockets, handshake, open_raw

consume_protocol = pytest.mark.parametrize("settings", [True], ids=["consume-protocol"], indirect=True)
asgi = pytest.mark.parametrize("settings", [False], ids=["asgi"], indirect=True)


@consume_protocol
async def test_a_service_that_allows_none_refuses_it_before_its_upstream_is_asked(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    answer = await gateway.raw(handshake(granted))
    assert answer.startswith(b"HTTP/1.1 403 ") and b"websocket_denied" in answer
    assert merchant.connections == 0 and gateway.events() == []


@consume_protocol
async def test_who_may_not_call_the_service_may_not_by_websocket(
    gateway: Running, granted: GrantedKey, talker: Talker
) -> None:
    await allow_websockets(granted, talker.port)
    answer = await gateway.raw(handshake(granted, without="X-API-Key"))
    assert answer.startswith(b"HTTP/1.1 401 ") and b"key_missing" in answer
    await granted.write_key(service_ids=[])
    assert b"service_not_granted" in await gateway.raw(handshake(granted))
    assert talker.requests == []


@asgi
async def test_the_asgi_entry_opens_none(gateway: Running, granted: GrantedKey, talker: Talker) -> None:
    await allow_websockets(granted, talker.port)
    answer = await gateway.raw(handshake(granted))
    assert answer.startswith(b"HTTP/1.1 501 ") and b"upgrade_unsupported" in answer
    assert talker.requests == []


@pytest.mark.parametrize("without", ["Connection", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version"])
async def test_half_a_handshake_is_a_plain_call(
    gateway: Running, granted: GrantedKey, merchant: Merchant, without: str
) -> None:
    await allow_websockets(granted, merchant.port)
    answer = await gateway.raw(handshake(granted, without=without))
    assert answer.startswith(b"HTTP/1.1 200 ")
    (request,) = merchant.requests
    assert request.header("upgrade") is None and request.header("connection") is None


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_form_without_a_path_opens_none(
    gateway: Running, granted: GrantedKey, merchant: Merchant, method: str
) -> None:
    """GET isn't among its methods, and a POST is no handshake: it is a call."""
    await allow_websockets(granted, merchant.port)
    path = f"/api/consume?service={granted.slug}"
    answer = await gateway.raw(handshake(granted, method=method, path=path))
    if method == "GET":
        assert answer.startswith(b"HTTP/1.1 405 ") and merchant.requests == []
    else:
        assert answer.startswith(b"HTTP/1.1 200 ") and merchant.requests[0].header("upgrade") is None


@consume_protocol
async def test_an_upstream_that_refuses_is_passed_on_as_its_answer(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    merchant.answer = respond_with(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    await allow_websockets(granted, merchant.port)
    answer = await gateway.raw(handshake(granted) + handshake(granted, without="Upgrade"))
    # And the connection serves what comes after it.
    assert answer.count(b"HTTP/1.1 403 Forbidden") == 2 and answer.count(b"\r\n\r\nno") == 2
    assert merchant.connections == 1
    assert [(event.status_code, event.outcome) for event in gateway.events()] == [(403, usage.ANSWERED)] * 2


@consume_protocol
@pytest.mark.parametrize(
    "answer",
    [
        SWITCHED.replace(b"s3pP", b"AAAA"),
        SWITCHED.replace(b"websocket\r\n", b"h2c\r\n"),
        SWITCHED.replace(b"Connection: Upgrade\r\n", b""),
        SWITCHED + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["another key", "another protocol", "no upgrade", "no frames"],
)
async def test_an_upstream_that_doesnt_accept_this_handshake_gets_no_tunnel(
    gateway: Running, granted: GrantedKey, merchant: Merchant, answer: bytes
) -> None:
    merchant.answer = respond_with(answer)
    await allow_websockets(granted, merchant.port)
    got = await gateway.raw(handshake(granted))
    assert got.startswith(b"HTTP/1.1 502 ") and b"upstream_failed" in got
    (event,) = gateway.events()
    assert (event.status_code, event.outcome) == (502, usage.UPSTREAM_FAILED)
    assert event.response_payload_size_bytes == 0


@consume_protocol
async def test_a_plain_call_whose_upstream_switches_protocols_gets_no_tunnel(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    merchant.answer = respond_with(SWITCHED)
    await allow_websockets(granted, merchant.port)
    assert (await gateway.raw(handshake(granted, without="Upgrade"))).startswith(b"HTTP/1.1 502 ")


@consume_protocol
async def test_a_connection_that_died_while_idle_is_replaced(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    """A handshake is a GET, and nothing of it was answered."""

    async def close_on_reuse(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        if len(merchant.requests) == 2:
            writer.transport.abort()
        elif request.header("upgrade") is None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        else:
            writer.write(SWITCHED)

    merchant.answer = close_on_reuse
    await allow_websockets(granted, merchant.port)
    assert (await gateway.raw(handshake(granted, without="Upgrade"))).startswith(b"HTTP/1.1 200 ")
    _, writer, head = await open_raw(gateway, granted)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert (merchant.connections, len(merchant.requests)) == (2, 3)
    writer.close()
