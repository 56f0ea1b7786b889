"""How a WebSocket ends, and that it is metered once however it does."""

import asyncio
from dataclasses import replace

import pytest
from ams.identity.v1 import events_pb2 as identity
from ams.keys.v1 import events_pb2 as keys
from ams.usage.v1 import events_pb2 as usage
from ams_common.snapshots import key_snapshot_key
from ams_common.testing.eventually import eventually
from ams_gateway.settings import Settings
from ams_gateway.testing.merchants import Merchant, Reader, RecordedRequest, Writer
from ams_gateway.testing.running import GrantedKey, Running, serve_gateway
from ams_gateway.testing.websockets import SWITCHED, Talker, allow_websockets, handshake, open_raw
from wsproto.frame_protocol import FrameProtocol

pytestmark = pytest.mark.parametrize("settings", [True], ids=["consume-protocol"], indirect=True)

SERVER, CLIENT = (FrameProtocol(client=is_client, extensions=[]) for is_client in (False, True))
HELLO = bytes(SERVER.send_data(b"hello", fin=True))


async def greet(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
    """Accepts, says hello, and reads until the other side hangs up."""
    writer.write(SWITCHED + HELLO)
    request.body = await reader.read()


async def greet_and_close(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
    writer.write(SWITCHED + HELLO)
    writer.close()


async def greet_and_reset(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
    writer.write(SWITCHED + HELLO)
    await reader.readexactly(1)
    writer.transport.abort()


async def ended(gateway: Running) -> usage.UsageEvent:
    """The one event of a WebSocket that has been said hello in."""

    async def is_over() -> bool:
        return bool(gateway.events()) and not gateway.runtime.gateway.in_flight

    await eventually(is_over)
    (event,) = gateway.events()
    assert (event.status_code, event.outcome) == (101, usage.ANSWERED)
    assert (event.response_messages, event.response_payload_size_bytes) == (1, len("hello"))
    return event


async def hear_hello(gateway: Running, granted: GrantedKey) -> tuple[Reader, Writer]:
    reader, writer, _ = await open_raw(gateway, granted)
    assert await asyncio.wait_for(reader.readexactly(len(HELLO)), 10) == HELLO
    return reader, writer


@pytest.mark.parametrize("way", ["close", "half-close", "reset"])
async def test_a_consumer_who_leaves_ends_it_and_the_merchant_gets_what_was_sent(
    gateway: Running, granted: GrantedKey, merchant: Merchant, way: str
) -> None:
    merchant.answer = greet
    await allow_websockets(granted, merchant.port)
    reader, writer = await hear_hello(gateway, granted)
    last = bytes(CLIENT.send_data(b"bye", fin=True)) + bytes(CLIENT.close(1000))
    writer.write(last)
    if way == "close":
        writer.close()
    elif way == "half-close":
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 10) == b""
    else:
        # What was sent before a reset may be lost with it.
        await asyncio.wait_for(writer.drain(), 10)
        writer.transport.abort()
    event = await ended(gateway)
    await asyncio.wait_for(merchant.hung_up.wait(), 10)
    if way != "reset":
        assert event.request_messages == 1
        assert merchant.requests[0].body == last
    writer.close()


async def test_a_consumer_who_ends_its_stream_with_the_handshake_opens_nothing_that_lasts(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    merchant.answer = greet
    await allow_websockets(granted, merchant.port)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(handshake(granted))
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 101 ")
    await asyncio.wait_for(merchant.hung_up.wait(), 10)

    async def events() -> list[usage.UsageEvent]:
        return gateway.events()

    (event,) = await eventually(events)
    assert (event.status_code, event.outcome) == (101, usage.ANSWERED)
    writer.close()


@pytest.mark.parametrize("answer", [greet_and_close, greet_and_reset], ids=["close", "reset"])
async def test_a_merchant_who_leaves_ends_it_and_the_consumer_gets_what_was_sent(
    gateway: Running,
    granted: GrantedKey,
    merchant: Merchant,
    answer: object,
) -> None:
    merchant.answer = answer  # type: ignore[assignment]
    await allow_websockets(granted, merchant.port)
    reader, writer = await hear_hello(gateway, granted)
    if answer is greet_and_reset:
        writer.write(bytes(CLIENT.ping(b"")))
    assert await asyncio.wait_for(reader.read(), 10) == b""
    await ended(gateway)
    writer.close()


async def test_silence_of_both_ends_it(gateway: Running, granted: GrantedKey, merchant: Merchant) -> None:
    merchant.answer = greet
    await allow_websockets(granted, merchant.port, idle_timeout_s=1)
    reader, writer = await hear_hello(gateway, granted)
    assert await asyncio.wait_for(reader.read(), 30) == b""
    await ended(gateway)
    await asyncio.wait_for(merchant.hung_up.wait(), 10)
    writer.close()


async def test_one_side_that_speaks_keeps_it_open_until_its_whole_time_is_over(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    merchant.answer = greet
    await allow_websockets(granted, merchant.port, idle_timeout_s=2, total_timeout_s=5)
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    reader, writer = await hear_hello(gateway, granted)

    async def speak() -> None:
        while True:
            writer.write(bytes(CLIENT.send_data(b"x", fin=True)))
            await asyncio.sleep(0.1)

    speaking = asyncio.create_task(speak())
    assert await asyncio.wait_for(reader.read(), 30) == b""
    assert loop.time() - begun_s > 4.9
    speaking.cancel()
    assert (await ended(gateway)).request_messages > 10
    writer.close()


@pytest.mark.parametrize("who", ["consumer", "merchant"])
async def test_what_isnt_websocket_any_more_ends_it(
    gateway: Running, granted: GrantedKey, merchant: Merchant, who: str
) -> None:
    """It couldn't be counted, and would pass for nothing."""

    async def answer(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        writer.write(SWITCHED + HELLO)
        await writer.drain()
        if who == "merchant":
            await reader.readexactly(1)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        request.body = await reader.read()

    merchant.answer = answer
    await allow_websockets(granted, merchant.port)
    reader, writer = await hear_hello(gateway, granted)
    writer.write(bytes(CLIENT.ping(b"")) if who == "merchant" else b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert await asyncio.wait_for(reader.read(), 10) == b""
    await ended(gateway)
    await asyncio.wait_for(merchant.hung_up.wait(), 10)
    assert b"GET" not in merchant.requests[0].body
    writer.close()


@pytest.mark.parametrize("change", ["revoked", "blocked", "not granted", "not allowed"])
async def test_it_lasts_no_longer_than_the_right_to_it(
    gateway: Running, granted: GrantedKey, merchant: Merchant, change: str
) -> None:
    merchant.answer = greet
    await allow_websockets(granted, merchant.port)
    reader, writer = await hear_hello(gateway, granted)
    if change == "revoked":
        await granted.write_key(status=keys.KEY_REVOKED)
    elif change == "blocked":
        await granted.write_key(consumer_standing=identity.STANDING_BLOCKED)
    elif change == "not granted":
        await granted.write_key(service_ids=[])
    else:
        await granted.write_service()
    assert await asyncio.wait_for(reader.read(), 10) == b""
    await ended(gateway)
    await asyncio.wait_for(merchant.hung_up.wait(), 10)
    writer.close()


async def test_a_change_that_takes_nothing_away_leaves_it_open(
    gateway: Running, granted: GrantedKey, talker: Talker
) -> None:
    await allow_websockets(granted, talker.port)
    reader, writer, _ = await open_raw(gateway, granted)
    await granted.write_key(key_prefix="ams_live_changed")

    async def is_looked_up() -> bool:
        """Nobody else asks for the key."""
        held = gateway.runtime.keys.get_cached(key_snapshot_key(granted.key.sha256))
        return held is not None and held.value is not None and held.value.key_prefix == "ams_live_changed"

    await eventually(is_looked_up)
    writer.write(bytes(CLIENT.send_data(b"hello", fin=True)))
    assert await asyncio.wait_for(reader.readexactly(7), 10) == b"\x82\x05hello"
    writer.close()


async def test_a_stop_that_cant_wait_for_it_meters_it(
    settings: Settings, granted: GrantedKey, merchant: Merchant
) -> None:
    merchant.answer = greet
    await allow_websockets(granted, merchant.port)
    # Kafka is away, so that what was journalled stays to be seen.
    stopped = replace(settings, kafka_bootstrap_servers="127.0.0.1:1", drain_s=1.0)
    async with serve_gateway(stopped) as gateway:
        _, writer = await hear_hello(gateway, granted)
    (event,) = gateway.events()
    assert (event.status_code, event.response_messages) == (101, 1)
    writer.close()
