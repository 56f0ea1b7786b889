"""The ASGI entry: an ASGI app in front of the Starlette app, for the consume paths only."""

import asyncio
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from ams_gateway.http.headers import parse_headers
from ams_gateway.http.problems import Header, Problem
from ams_gateway.runtime import Runtime
from ams_gateway.server.routes import is_ours, read_request
from ams_gateway.upstream.exchange import ClientGoneError


class AsgiEntry:
    """Everything but the consume paths goes to `app`, lifespan too. `runtime` is set by the app's
    lifespan before any request comes."""

    def __init__(self, app: ASGIApp, *, max_header_bytes: int) -> None:
        self._app = app
        self._max_header_bytes = max_header_bytes
        self.runtime: Runtime | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_ours(scope["raw_path"]):
            await self._app(scope, receive, send)
            return
        assert self.runtime is not None
        gateway = self.runtime.gateway
        client = AsgiClient(receive, send)
        request = read_request(
            scope["method"],
            scope["http_version"],
            scope["raw_path"],
            scope["query_string"],
            parse_headers(scope["headers"], self._max_header_bytes),
        )
        if isinstance(request, Problem):
            await gateway.send_problem(request, gateway.new_request_id(), client)
        else:
            # On False the answer stays incomplete, and the server then drops the connection: that is
            # how HTTP/1.1 says that it was cut off.
            await gateway.serve(request, client)


class AsgiClient:
    __slots__ = ("_is_uploading", "_receive", "_send", "_watcher")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._watcher: asyncio.Task[None] | None = None
        # There is more of the body, for `read` alone to receive.
        self._is_uploading = False

    async def read(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        self._is_uploading = message.get("more_body", False)
        return message["body"], self._is_uploading

    async def start(self, status: int, headers: list[Header], data: bytes, more: bool) -> None:
        message: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": headers}
        await self._send(message)
        await self.write(data, more)

    async def write(self, data: bytes, more: bool) -> None:
        # Where more is to come it isn't left to the next sweep: until then all would go to nobody.
        if more and not self._is_uploading and self.is_gone():
            raise ClientGoneError
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    def is_gone(self) -> bool:
        # Sending says nothing of a consumer who has hung up; only receiving does.
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch())
        return self._watcher.done()

    async def _watch(self) -> None:
        # The end of the answer looks the same; then nobody asks any more.
        while (await self._receive())["type"] != "http.disconnect":
            pass
