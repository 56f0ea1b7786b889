"""A call that lasts reports what it has used while it goes on, and ends when it can't or mustn't go on."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import ClientError, ClientSession
from ams.identity.v1 import events_pb2 as identity
from ams.keys.v1 import events_pb2 as keys
from ams.usage.v1 import events_pb2 as usage
from ams_common.testing.eventually import eventually
from ams_gateway.metering.journal import JournalError
from ams_gateway.settings import Settings
from ams_gateway.testing.merchants import Merchant, Reader, RecordedRequest, Writer
from ams_gateway.testing.running import GrantedKey, Running, serve_gateway
from ams_gateway.testing.websockets import SWITCHED, allow_websockets, open_raw
from wsproto.frame_protocol import FrameProtocol

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Stream:
    """A merchant's answer in pieces, each sent when it is said so."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()

    async def answer(self, request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        writer.write(HEAD)
        while piece := await self.pieces.get():
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        writer.write(b"0\r\n\r\n")


@pytest.fixture
def stream(merchant: Merchant) -> Stream:
    stream = Stream()
    merchant.answer = stream.answer
    return stream


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Running]:
    async with serve_gateway(replace(settings, report_every_s=1.0)) as running:
        yield running


async def reports(gateway: Running, count: int) -> list[usage.UsageEvent]:
    """The events of the one call, when there are so many."""

    async def events() -> list[usage.UsageEvent]:
        found = gateway.events()
        return found if len(found) >= count else []

    return await eventually(events)


async def test_a_stream_is_reported_as_it_flows_and_counted_once(
    gateway: Running, http: ClientSession, granted: GrantedKey, stream: Stream
) -> None:
    async with http.post(f"{gateway.url}/api/consume", data=b"abc", headers=granted.headers) as answer:
        for number in range(1, 4):
            stream.pieces.put_nowait(b"x" * 1000)
            await answer.content.readexactly(1000)
            await reports(gateway, number)
        stream.pieces.put_nowait(b"x" * 10)
        stream.pieces.put_nowait(b"")
        assert await answer.read() == b"x" * 10
        request_id = answer.headers["X-Request-Id"]
    found = gateway.events()
    assert [event.is_continuation for event in found] == [False] + [True] * (len(found) - 1)
    assert {event.request_id for event in found} == {request_id}
    assert {(event.status_code, event.outcome) for event in found} == {(200, usage.ANSWERED)}
    assert sum(event.response_payload_size_bytes for event in found) == 3010
    assert sum(event.request_payload_size_bytes for event in found) == 3


async def test_a_silent_stream_reports_nothing_more(
    gateway: Running, http: ClientSession, granted: GrantedKey, stream: Stream
) -> None:
    async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
        stream.pieces.put_nowait(b"x" * 1000)
        await reports(gateway, 1)
        (call,) = (exchange.counted for exchange in gateway.runtime.gateway._exchanges)
        reported_at_s = call.reported_at_s  # type: ignore[attr-defined]

        async def is_due_again() -> bool:
            return bool(call.reported_at_s > reported_at_s)  # type: ignore[attr-defined]

        await eventually(is_due_again)
        stream.pieces.put_nowait(b"")
        await answer.read()
    assert len(gateway.events()) == 1


@pytest.mark.parametrize("settings", [True], ids=["consume-protocol"], indirect=True)
async def test_a_websocket_reports_its_messages(
    gateway: Running, granted: GrantedKey, merchant: Merchant
) -> None:
    async def greet(request: RecordedRequest, reader: Reader, writer: Writer) -> None:
        writer.write(SWITCHED + bytes(FrameProtocol(client=False, extensions=[]).send_data(b"hi", fin=True)))
        await reader.read()

    merchant.answer = greet
    await allow_websockets(granted, merchant.port)
    _, writer, _ = await open_raw(gateway, granted)
    (first,) = await reports(gateway, 1)
    assert (first.response_messages, first.response_payload_size_bytes) == (1, 2)
    writer.write(bytes(FrameProtocol(client=True, extensions=[]).send_data(b"three", fin=True)))
    _, second = await reports(gateway, 2)
    assert (second.request_messages, second.request_payload_size_bytes) == (1, 5)
    assert (second.response_messages, second.is_continuation) == (0, True)
    writer.close()


async def test_a_stream_that_cant_be_reported_is_broken_off(
    gateway: Running,
    http: ClientSession,
    granted: GrantedKey,
    stream: Stream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(consumer_id: str, event: bytes) -> None:
        raise JournalError

    async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
        stream.pieces.put_nowait(b"x" * 1000)
        await reports(gateway, 1)
        monkeypatch.setattr(gateway.runtime.journal, "append", refuse)
        stream.pieces.put_nowait(b"x" * 1000)
        with pytest.raises(ClientError):
            await asyncio.wait_for(answer.read(), 30)
    assert [event.response_payload_size_bytes for event in gateway.events()] == [1000]


@pytest.mark.parametrize("change", ["revoked", "blocked", "suspended"])
async def test_a_stream_lasts_no_longer_than_the_right_to_it(
    gateway: Running,
    http: ClientSession,
    granted: GrantedKey,
    stream: Stream,
    merchant: Merchant,
    change: str,
) -> None:
    async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
        stream.pieces.put_nowait(b"x" * 1000)
        await answer.content.readexactly(1000)
        if change == "revoked":
            await granted.write_key(status=keys.KEY_REVOKED)
        elif change == "blocked":
            await granted.write_key(consumer_standing=identity.STANDING_BLOCKED)
        else:
            await granted.write_service(merchant_standing=identity.STANDING_BLOCKED)
        with pytest.raises(ClientError):
            await asyncio.wait_for(answer.read(), 30)
    found = gateway.events()
    assert sum(event.response_payload_size_bytes for event in found) == 1000
    assert {event.outcome for event in found} == {usage.ANSWERED}


async def test_a_call_under_way_at_a_stop_is_metered(
    settings: Settings, http: ClientSession, granted: GrantedKey, stream: Stream
) -> None:
    # Kafka is away, so that what was journalled stays to be seen.
    stopped = replace(settings, kafka_bootstrap_servers="127.0.0.1:1", drain_s=1.0)
    async with serve_gateway(stopped) as gateway:
        answer = await http.post(f"{gateway.url}/api/consume", headers=granted.headers)
        stream.pieces.put_nowait(b"x" * 1000)
        await answer.content.readexactly(1000)
    (event,) = gateway.events()
    assert (event.outcome, event.response_payload_size_bytes) == (usage.ANSWERED, 1000)
    answer.close()
