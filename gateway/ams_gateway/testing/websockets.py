"""Both ends of a WebSocket through a gateway: a merchant's API, and a consumer of raw bytes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web
from ams.catalog.v1.forwarding_pb2 import ForwardingSettings

from ams_gateway.testing.merchants import Reader, Writer
from ams_gateway.testing.narrow import connect_narrow
from ams_gateway.testing.running import GrantedKey, Running

Talk = Callable[[web.WebSocketResponse], Awaitable[None]]

# RFC 6455 §1.3
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
# A merchant of raw bytes accepts the handshake with that key.
SWITCHED = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
).encode()


async def echo(socket: web.WebSocketResponse) -> None:
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        else:
            await socket.send_bytes(message.data)


@dataclass
class Talker:
    """A merchant's API that opens a WebSocket below /base."""

    port: int = 0
    talk: Talk = echo
    requests: list[web.Request] = field(default_factory=list)
    # How each was closed, as the merchant saw it.
    close_codes: list[int | None] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.WebSocketResponse:
        self.requests.append(request)
        socket = web.WebSocketResponse(protocols=("chat", "other"), max_msg_size=0)
        await socket.prepare(request)
        try:
            await self.talk(socket)
        finally:
            self.close_codes.append(socket.close_code)
        return socket


@contextlib.asynccontextmanager
async def serve_talker() -> AsyncIterator[Talker]:
    talker = Talker()
    app = web.Application()
    app.router.add_get("/base/{rest:.*}", talker.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    talker.port = runner.addresses[0][1]
    try:
        yield talker
    finally:
        await runner.cleanup()


async def allow_websockets(
    granted: GrantedKey, port: int, *, idle_timeout_s: int = 0, total_timeout_s: int = 0
) -> None:
    """The granted service lies at this port from now on."""
    await granted.write_service(
        base_url=f"http://127.0.0.1:{port}/base",
        forwarding=ForwardingSettings(
            allows_websockets=True, idle_timeout_s=idle_timeout_s, total_timeout_s=total_timeout_s
        ),
    )


def handshake(granted: GrantedKey, *, without: str = "", method: str = "GET", path: str = "") -> bytes:
    """A handshake's head. `without`: the name of a field that is left out."""
    fields = {
        "Host": "g",
        "X-API-Key": granted.key.secret,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
    }
    lines = [f"{method} {path or f'/api/consume/{granted.slug}/socket'} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields.items() if name != without]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def open_raw(gateway: Running, granted: GrantedKey) -> tuple[Reader, Writer, bytes]:
    """A consumer of raw bytes, and the head that it was answered with."""
    reader, writer = await connect_narrow(gateway.port)
    writer.write(handshake(granted))
    return reader, writer, await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
