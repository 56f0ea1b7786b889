"""The plain door: an ASGI app in front of the Starlette app, for the consume paths only."""

import re
from functools import lru_cache
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from ams_gateway import refusals
from ams_gateway.core import Request
from ams_gateway.exchange import ClientGoneError
from ams_gateway.heads import Head, read_head
from ams_gateway.refusals import Header, Refusal
from ams_gateway.runtime import Runtime
from ams_gateway.targets import escapes

PATH = b"/api/consume"
_BELOW = PATH + b"/"
_SERVICE = re.compile(rb"[A-Za-z0-9-]{1,100}")
_COMMON = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_METHOD = re.compile(r"[A-Z]+(-[A-Z]+)*")


class Door:
    """Everything but the consume paths goes to `app`, lifespan too. `runtime` is set by the app's
    lifespan before any request comes."""

    def __init__(self, app: ASGIApp, *, max_header_bytes: int) -> None:
        self._app = app
        self._max_header_bytes = max_header_bytes
        self.runtime: Runtime | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The raw path: "/api%2Fconsume" is another path, here as for every other reader.
        if scope["type"] != "http" or not _is_ours(scope["raw_path"]):
            await self._app(scope, receive, send)
            return
        assert self.runtime is not None
        gateway = self.runtime.gateway
        client = AsgiClient(receive, send)
        request = read_request(scope, self._max_header_bytes)
        if isinstance(request, Refusal):
            await gateway.refuse(request, gateway.new_request_id(), client)
        else:
            # On False the answer stays incomplete, and the server then drops the connection: that is
            # how HTTP/1.1 says that it was cut off.
            await gateway.serve(request, client)


def _is_ours(raw_path: bytes) -> bool:
    return raw_path == PATH or raw_path.startswith(_BELOW)


def read_request(scope: Scope, max_header_bytes: int) -> Request | Refusal:
    method: str = scope["method"]
    if scope["http_version"] != "1.1":
        return refusals.VERSION_UNSUPPORTED
    if method not in _COMMON and (method in ("CONNECT", "TRACE") or not _METHOD.fullmatch(method)):
        return refusals.METHOD_UNSUPPORTED
    head = read_head(scope["headers"], max_header_bytes)
    if isinstance(head, Refusal):
        return head
    raw_path: bytes = scope["raw_path"]
    if raw_path != PATH:
        return _read_path(method, raw_path, scope["query_string"], head)
    if method != "POST":
        return refusals.METHOD_NOT_ALLOWED
    service = _service(head.service) if head.service is not None else None
    return Request(method, service, None, scope["query_string"], head)


def _read_path(method: str, raw_path: bytes, query: bytes, head: Head) -> Request | Refusal:
    """`/api/consume/{service}/{path}`: the path goes on byte for byte."""
    service, slash, rest = raw_path[len(_BELOW) :].partition(b"/")
    if not service:
        return refusals.NOT_FOUND
    path = slash + rest if slash else None
    if path is not None and escapes(path):
        return refusals.PATH_INVALID
    return Request(method, _service(service), path, query, head)


@lru_cache(10_000)
def _service(name: bytes) -> str | None:
    """What can't be a name is looked up as one that doesn't exist; empty counts as not given."""
    name = name.strip()
    if not name:
        return None
    return name.decode("ascii").lower() if _SERVICE.fullmatch(name) else "-"


class AsgiClient:
    """The consumer behind an ASGI server."""

    __slots__ = ("_receive", "_send")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def read(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        return message["body"], message.get("more_body", False)

    async def start(self, status: int, headers: list[Header]) -> None:
        message: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": headers}
        await self._send(message)

    async def write(self, data: bytes, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def gone(self) -> None:
        # Sending says nothing of a consumer who has hung up; only this does.
        while (await self._receive())["type"] != "http.disconnect":
            pass
