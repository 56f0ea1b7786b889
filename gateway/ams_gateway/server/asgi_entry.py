"""The ASGI entry: the reference for the consume protocol, by Starlette and uvicorn's own protocol.

It opens no WebSockets: what ASGI passes are messages that the server has taken apart, and the gateway passes
bytes on unchanged and counts those of the wire. A handshake is refused with 501.
"""

import asyncio
from typing import Any

from starlette.types import Receive, Scope, Send

from ams_gateway.call import ClientGoneError
from ams_gateway.gateway import Gateway
from ams_gateway.http import problems
from ams_gateway.http.requests import FirstLine, Request, RequestParser
from ams_gateway.http.websocket import handshake_key
from ams_gateway.upstream.exchange import Exchange

_HIGH_WATER_BYTES = 64 * 1024


class AsgiEntry:
    """An ASGI application for the consume paths."""

    def __init__(self, gateway: Gateway, parser: RequestParser) -> None:
        self._gateway = gateway
        self._parser = parser

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope["state"]["connection"]
        connection.begin_request()
        try:
            await self._serve(scope, receive, send)
        finally:
            connection.end_request()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        lines = [b"%b: %b" % header for header in scope["headers"]]
        target = scope["raw_path"]
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        first = FirstLine(scope["method"], target, int(scope["http_version"] != "1.0"))
        request = self._parser.read(first, lines, sum(map(len, lines)))
        # The head as a connection of ours would have had it, for what is read of it only now and then.
        request.head = b"\r\n".join([b"%b %b HTTP/1.1" % (scope["method"].encode(), target), *lines])
        request.peer = scope["client"][0] if scope.get("client") else ""
        if request.problem is None and handshake_key(request) is not None:
            request.problem = problems.UPGRADE_UNSUPPORTED
        client = AsgiClient(request, receive, send)
        if request.problem is not None and request.problem.closes:
            self._gateway.refuse_unread(request.problem, client, request.head)
        else:
            self._gateway.serve(request, client, b"", not request.has_body)
        await client.run()


class AsgiClient:
    """The call's `Caller`: what it sends waits in a queue for `run`, which also hears of a hang-up."""

    def __init__(self, request: Request, receive: Receive, send: Send) -> None:
        self._request = request
        self._receive = receive
        self._send = send
        self._exchange: Exchange | None = None
        self._outgoing: list[dict[str, Any]] = []
        self._queued_bytes = 0
        self._pieces: list[bytes] = []
        self._is_whole = not request.has_body
        self._wanted = asyncio.Event()
        self._arrived = asyncio.Event()
        self._sendable = asyncio.Event()
        self._is_complete = False
        self._is_cut = False
        self._close_after = False
        self.is_full = False
        self.is_gone = False

    async def run(self) -> None:
        """Until the answer is sent, or can't be. One that was cut stays incomplete, and the server then drops
        the connection."""
        receiving = asyncio.create_task(self._read())
        try:
            while not self._is_cut:
                await self._sendable.wait()
                self._sendable.clear()
                messages, self._outgoing = self._outgoing, []
                for message in messages:
                    await self._send(message)
                    self._queued_bytes -= len(message.get("body", b""))
                self._set_full(self._queued_bytes > _HIGH_WATER_BYTES)
                if self._is_complete and not self._outgoing:
                    return
        except asyncio.CancelledError:
            # The server stops: it isn't the consumer who has left.
            if self._exchange is not None:
                self._exchange.fail(problems.GATEWAY_STOPPING)
            raise
        finally:
            receiving.cancel()
            if not self._is_complete:
                self._leave()

    async def _read(self) -> None:
        # Asking for the body is what tells a consumer to go on (100 Continue): not before it is wanted.
        if not self._is_whole:
            await self._wanted.wait()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._leave()
                self._is_cut = True
                self._sendable.set()
                return
            self._take_in(message.get("body", b""), not message.get("more_body", False))
            await self._wanted.wait()

    def _take_in(self, body: bytes, done: bool) -> None:
        if self._is_whole:
            return
        self._is_whole = done
        if self._exchange is not None:
            self._exchange.upload(body, done, asyncio.get_running_loop().time())
        else:
            self._pieces.append(body)
            if sum(map(len, self._pieces)) > _HIGH_WATER_BYTES:
                self.pause()
        self._arrived.set()

    def _leave(self) -> None:
        self.is_gone = True
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.on_client_gone()
        self._arrived.set()

    def _set_full(self, full: bool) -> None:
        if full != self.is_full:
            self.is_full = full
            if self._exchange is not None:
                self._exchange.on_client_full(full)

    # See gateway.Caller

    async def first_piece(self) -> tuple[bytes, bool]:
        self._wanted.set()
        await self._arrived.wait()
        if self.is_gone:
            raise ClientGoneError
        return self.take()

    def take(self) -> tuple[bytes, bool]:
        pieces, self._pieces = self._pieces, []
        self.resume()
        return b"".join(pieces), self._is_whole

    def attach(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._wanted.set()

    def close_after(self) -> None:
        self._close_after = True

    def start(self, status: int, fields: bytes, length: int | None, body: bytes, more: bool) -> None:
        headers = [tuple(line.split(b":", 1)) for line in fields.split(b"\r\n") if line]
        headers = [(name.lower(), value.strip()) for name, value in headers]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        if self._close_after:
            headers.append((b"connection", b"close"))
        self._queue({"type": "http.response.start", "status": status, "headers": headers})
        self.write(b"" if self._request.method == "HEAD" else body, more)

    def write(self, data: bytes, more: bool) -> None:
        self._queued_bytes += len(data)
        self._queue({"type": "http.response.body", "body": data, "more_body": more})
        self._set_full(self._queued_bytes > _HIGH_WATER_BYTES)
        if not more:
            self._is_complete = True
            self._exchange = None

    def _queue(self, message: dict[str, Any]) -> None:
        self._outgoing.append(message)
        self._sendable.set()

    def cut(self) -> None:
        self._is_cut = True
        self._exchange = None
        self._sendable.set()

    def pause(self) -> None:
        self._wanted.clear()

    def resume(self) -> None:
        self._wanted.set()
