"""WebSockets through the consume protocol: what aiohttp's client and server say to each other passes
unchanged, and is counted."""

import asyncio
import contextlib

import pytest
from aiohttp import ClientSession, WSMsgType, web
from ams.usage.v1 import events_pb2 as usage
from ams_common.testing.eventually import eventually
from ams_gateway.testing.merchants import Merchant, Reader, RecordedRequest, Writer
from ams_gateway.testing.running import GrantedKey, Running
from ams_gateway.testing.websockets import (
    ACCEPT,
    SWITCHED,
    Talker,
    allow_websockets,
    handshake,
    open_raw,
)
from wsproto.frame_protocol import FrameProtocol

# The other entry opens none: test_refuse_websockets.py.
pytestmark = pytest.mark.parametrize("settings", [True], ids=["consume-protocol"], indirect=True)

MEGABYTE = 1 << 20


def url(gateway: Running, granted: GrantedKey) -> str:
    return f"{gateway.url}/api/consume/{granted.slug}/socket"


def key_of(granted: GrantedKey) -> dict[str, str]:
    return {"X-API-Key": granted.key.secret}


async def the_event(gateway: Running) -> usage.UsageEvent:
    async def events() -> list[usage.UsageEvent]:
        return gateway.events()

    (event,) = await eventually(events)
    return event


def counts(event: usage.UsageEvent) -> tuple[int, int, int, int]:
    return (
        event.request_messages,
        event.request_payload_size_bytes,
        event.response_messages,
        event.response_payload_size_bytes,
    )


async def test_messages_pass_both_ways_and_are_counted(
    gateway: Running, http: ClientSession, granted: GrantedKey, talker: Talker
) -> None:
    await allow_websockets(granted, talker.port)
    async with http.ws_connect(url(gateway, granted), headers=key_of(granted)) as socket:
        await socket.send_str("grüße")
        assert await socket.receive_str() == "grüße"
        await socket.send_bytes(b"\x00" * 70_000)
        assert await socket.receive_bytes() == b"\x00" * 70_000
        await socket.close(code=4001, message=b"done")
    event = await the_event(gateway)
    assert (event.status_code, event.outcome) == (101, usage.ANSWERED)
    # With the payload of a Close: a code of two bytes, and the reason.
    size = len("grüße".encode()) + 70_000 + 2
    assert counts(event)[:3] == (2, size + len("done"), 2)
    assert event.response_payload_size_bytes >= size
    assert talker.close_codes == [4001]


async def test_the_handshake_is_as_strict_as_any_call(
    gateway: Running, http: ClientSession, granted: GrantedKey, talker: Talker
) -> None:
    """The merchant sees neither key nor who calls, and the answer has the gateway's own fields."""
    await allow_websockets(granted, talker.port)
    headers = key_of(granted) | {"Origin": "https://a.example", "X-Forwarded-For": "1.2.3.4", "X-Mine": "1"}
    async with http.ws_connect(
        url(gateway, granted) + "?a=1", headers=headers, protocols=("other",)
    ) as socket:
        assert socket.protocol == "other"
    (request,) = talker.requests
    assert request.path_qs == "/base/socket?a=1"
    assert granted.key.secret not in str(request.raw_headers)
    assert not {"Origin", "X-Forwarded-For", "X-API-Key", "Authorization"} & set(request.headers)
    assert (request.headers["X-Mine"], request.headers["Connection"]) == ("1", "upgrade")


async def test_the_answers_request_id_finds_its_event(
    gateway: Running, granted: GrantedKey, talker: Talker
) -> None:
    await allow_websockets(granted, talker.port)
    _, writer, head = await open_raw(gateway, granted)
    assert head.startswith(b"HTTP/1.1 101 ") and b"transfer-encoding" not in head.lower()
    assert ACCEPT.encode() in head and head.lower().count(b"upgrade: websocket\r\n") == 1
    writer.close()
    event = await the_event(gateway)
    assert event.event_id.hex().encode() in head.replace(b"-", b"")


async def test_compression_that_both_sides_agree_on_passes_and_is_counted_as_it_travels(
    gateway: Running, http: ClientSession, granted: GrantedKey, talker: Talker
) -> None:
    await allow_websockets(granted, talker.port)
    text = "again and again " * 10_000
    async with http.ws_connect(url(gateway, granted), headers=key_of(granted), compress=15) as socket:
        assert socket.compress == 15
        await socket.send_str(text)
        assert await socket.receive_str() == text
    event = await the_event(gateway)
    assert (event.request_messages, event.response_messages) == (1, 1)
    assert 0 < event.request_payload_size_bytes < len(text) / 10
    assert 0 < event.response_payload_size_bytes < len(text) / 10


async def test_fragments_and_control_frames_pass_and_the_message_counts_once(
    gateway: Running, granted: GrantedKey, talker: Talker
) -> None:
    await allow_websockets(granted, talker.port)
    peer = FrameProtocol(client=True, extensions=[])
    reader, writer, _ = await open_raw(gateway, granted)
    sent = peer.send_data(b"ab", fin=False) + peer.ping(b"still there") + peer.send_data(b"cd", fin=True)
    for at in range(len(sent)):
        writer.write(sent[at : at + 1])
        await writer.drain()
    back = FrameProtocol(client=False, extensions=[])
    answered = back.pong(b"still there") + back.send_data(b"abcd", fin=True)
    assert await asyncio.wait_for(reader.readexactly(len(answered)), 10) == answered
    writer.close()
    event = await the_event(gateway)
    assert counts(event) == (1, 4 + len("still there"), 1, 4 + len("still there"))


async def test_frames_that_come_with_the_handshake_are_not_lost(
    gateway: Running, granted: GrantedKey, talker: Talker
) -> None:
    await allow_websockets(granted, talker.port)
    frame = bytes(FrameProtocol(client=True, extensions=[]).send_data(b"hasty", fin=True))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(handshake(granted) + frame)
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert await asyncio.wait_for(reader.readexactly(7), 10) == b"\x82\x05hasty"
    writer.close()


async def test_large_messages_pass_both_ways_at_once_however_slowly_they_are_read(
    gateway: Running, http: ClientSession, granted: GrantedKey, talker: Talker
) -> None:
    count, may_read = 24, asyncio.Event()

    async def push_then_read(socket: web.WebSocketResponse) -> None:
        for number in range(count):
            await socket.send_bytes(bytes([number]) * MEGABYTE)
        await may_read.wait()
        for number in range(count):
            assert await socket.receive_bytes() == bytes([number]) * MEGABYTE
        await socket.close()

    talker.talk = push_then_read
    await allow_websockets(granted, talker.port)
    async with http.ws_connect(url(gateway, granted), headers=key_of(granted), max_msg_size=0) as socket:

        async def push() -> None:
            for number in range(count):
                await socket.send_bytes(bytes([number]) * MEGABYTE)

        pushing = asyncio.create_task(push())
        for number in range(count):
            assert await socket.receive_bytes() == bytes([number]) * MEGABYTE
        may_read.set()
        await pushing
        assert (await socket.receive()).type is WSMsgType.CLOSE
    event = await the_event(gateway)
    assert (event.request_messages, event.response_messages) == (count, count)
    assert event.request_payload_size_bytes >= count * MEGABYTE
    assert event.response_payload_size_bytes == count * MEGABYTE + 2


@pytest.mark.parametrize("reader", ["consumer", "merchant"])
async def test_who_sends_faster_than_the_other_reads_is_held_back(
    gateway: Running, granted: GrantedKey, merchant: Merchant, reader: str
) -> None:
    """Else the difference would be the gateway's memory."""
    sent, release = 0, asyncio.Event()
    frame = bytes(FrameProtocol(client=False, extensions=[]).send_data(b"x" * 100_000, fin=True))

    async def pour(writer: Writer) -> None:
        nonlocal sent
        writer.transport.set_write_buffer_limits(high=0)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while sent < 90_000_000:
                writer.write(frame)
                await asyncio.wait_for(writer.drain(), 1)
                sent += len(frame)

    async def answer(request: RecordedRequest, upstream: Reader, writer: Writer) -> None:
        writer.write(SWITCHED)
        if reader == "consumer":
            await pour(writer)
        await release.wait()
        writer.transport.abort()

    merchant.answer = answer
    await allow_websockets(granted, merchant.port)
    _, writer, _ = await open_raw(gateway, granted)
    if reader == "merchant":
        await pour(writer)
    else:

        async def is_settled() -> bool:
            before = sent
            await asyncio.sleep(1.2)
            return before == sent

        await eventually(is_settled)
    assert 0 < sent < 30_000_000
    release.set()
    writer.transport.abort()
    assert (await the_event(gateway)).outcome == usage.ANSWERED
