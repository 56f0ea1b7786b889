"""What a WebSocket's two sides say is counted, and shown to consumer and merchant: from the connection to the
pages."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from ams_common.testing.eventually import eventually
from ams_local.rest import People
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.signed_in_browser import sign_in
from support.trade import open_trade


@pytest.fixture
async def echoing() -> AsyncIterator[str]:
    """The base URL of an API that says twice what it hears, in messages of their own."""

    async def answer(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
                await socket.send_str(message.data)
        return socket

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_the_messages_of_a_websocket_stand_in_the_log_of_calls(
    people: People, system: RunningSystem, http: aiohttp.ClientSession, echoing: str
) -> None:
    tag = secrets.token_hex(4)
    trade = await open_trade(people, ADMIN_EMAIL, echoing, tag, forwarding={"allowsWebsockets": True})
    address = f"{system.gateway_url}/api/consume/{trade.service['slug']}/chat"
    headers = {"Authorization": f"Bearer {trade.secret}"}
    async with http.ws_connect(address, headers=headers) as socket:
        for text in ("one", "two", "three"):
            await socket.send_str(text)
            assert [await socket.receive_str(), await socket.receive_str()] == [text, text]
    day = f"{datetime.now(UTC):%Y-%m-%d}"

    async def counted() -> list[tuple[str, ...]]:
        listed = await trade.consumer.get("/consumer/calls", day=day)
        names = ("requestMessages", "responseMessages", "requestBytes", "responseBytes")
        return [tuple(call[name] for name in names) for call in listed.get("calls", [])]

    await eventually(counted)
    # Of payload alone: a close frame's code is two bytes of it, on each side.
    assert await counted() == [("3", "6", "13", "24")]
    browser = await sign_in(system, people, f"consumer-{tag}@example.com")
    shown = await asyncio.to_thread(browser.get, f"/dashboard/usage/{day}")
    assert "3 messages" in shown.text
    assert "6 messages" in shown.text
    table = await asyncio.to_thread(browser.get, f"/dashboard/usage/{day}/table.csv")
    names, row = (line.split(",") for line in table.text.splitlines()[:2])
    figures = dict(zip((name.strip('"') for name in names), row, strict=False))
    assert (figures["request_messages"], figures["response_messages"]) == ("3", "6")
    # And in the sums, on either side.
    merchant = await sign_in(system, people, f"merchant-{tag}@example.com")
    for reader, path in ((browser, "/dashboard/usage"), (merchant, "/merchant/usage")):
        sums = await asyncio.to_thread(reader.get, f"{path}?from={day}&to={day}&group=service")
        assert "3 messages" in sums.text
        assert "6 messages" in sums.text
