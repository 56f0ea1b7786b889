"""The fast door: consume requests straight from uvicorn's HTTP protocol to the core, without ASGI between.

It stands on insides of uvicorn. `GATEWAY_FAST_DOOR=false` switches it off; then, and for every path that
isn't the gateway's, the same connections are served through the plain door.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ams_gateway import refusals
from ams_gateway.core import Gateway, Request
from ams_gateway.exchange import ClientGoneError, frame_chunk
from ams_gateway.protocol import GatewayProtocol
from ams_gateway.refusals import Header, Refusal
from ams_gateway.routes import is_ours, read_request

log = logging.getLogger(__name__)


class Call:
    """One request and its answer: the core's client. It stands where uvicorn keeps its own request cycle,
    so that keep-alive, pipelining and graceful stop are uvicorn's for both doors."""

    __slots__ = (
        "_expects_continue",
        "_flow",
        "_gone",
        "_is_chunked",
        "_is_head",
        "_on_complete",
        "_pieces",
        "_size",
        "_transport",
        "_waiter",
        "disconnected",
        "is_started",
        "keep_alive",
        "more_body",
        "request",
        "response_complete",
    )

    def __init__(
        self,
        request: Request | Refusal,
        transport: asyncio.Transport,
        flow: FlowControl,
        on_complete: Callable[[], None],
        *,
        is_head: bool,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        self.request = request
        self._transport = transport
        self._flow = flow
        self._on_complete = on_complete
        self._is_head = is_head
        self._expects_continue = expects_continue
        self._pieces: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[None] | None = None
        self._is_chunked = False
        self.is_started = False
        # uvicorn's names from here on.
        self.keep_alive = keep_alive
        self.more_body = True
        self.disconnected = False
        self.response_complete = False

    # The protocol's side

    def feed(self, body: bytes) -> None:
        if self.response_complete:
            return
        self._pieces.append(body)
        self._size += len(body)
        if self._size > HIGH_WATER_LIMIT:
            self._flow.pause_reading()
        _wake(self._waiter)

    def end(self) -> None:
        self.more_body = False
        _wake(self._waiter)

    @property
    def message_event(self) -> "Call":
        """uvicorn sets it when the connection is lost."""
        return self

    def set(self) -> None:
        _wake(self._waiter)
        _wake(self._gone)

    # The core's side

    async def read(self) -> tuple[bytes, bool]:
        if self._expects_continue and not self.is_started and not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._expects_continue = False
        if not self._pieces and self.more_body and not self.disconnected:
            self._flow.resume_reading()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self.disconnected or self.response_complete:
            raise ClientGoneError
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces = []
        self._size = 0
        return data, self.more_body

    async def start(self, status: int, headers: list[Header], data: bytes, more: bool) -> None:
        """Names and values are what the parser has let through, or our own."""
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        self.is_started = True
        has_length = False
        parts = [STATUS_LINE[status]]
        for name, value in headers:
            if name == b"content-length":
                has_length = True
            elif name == b"connection":
                # Only refusals have it, and it says close.
                self.keep_alive = False
                continue
            parts += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        self._is_chunked = not (has_length or self._is_head or status in (204, 304))
        parts.append(b"transfer-encoding: chunked\r\n\r\n" if self._is_chunked else b"\r\n")
        parts.append(self._frame(data, more))
        self._transport.write(b"".join(parts))
        if not more:
            self._complete()

    async def write(self, data: bytes, more: bool) -> None:
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        self._transport.write(self._frame(data, more))
        if not more:
            self._complete()

    async def gone(self) -> None:
        if not self.disconnected and not self.response_complete:
            self._gone = asyncio.get_running_loop().create_future()
            await self._gone

    def _frame(self, data: bytes, more: bool) -> bytes:
        if self._is_head:
            return b""
        return frame_chunk(data, last=not more) if self._is_chunked else data

    def _complete(self) -> None:
        self.response_complete = True
        self.set()
        if not self.keep_alive:
            self._transport.close()
        self._on_complete()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


class FastProtocol(GatewayProtocol):
    """For uvicorn's `http=`. One task serves a connection's calls one after the other: a task for each
    would cost more than deciding it."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._gateway: Gateway = app_state["gateway"]
        self._max_header_bytes: int = app_state["max_header_bytes"]
        # Ours or uvicorn's own, whichever the last request is.
        self.cycle: Any = None
        self._worker: asyncio.Task[None] | None = None
        self._call: Call | None = None
        self._waiter: asyncio.Future[None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._call is not None and not self._call.response_complete:
            # With pipelining uvicorn tells the last call only, and this one is being served.
            self._call.disconnected = True
            self._call.set()
        super().connection_lost(exc)
        _wake(self._waiter)

    # The parser's side

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        path, _, query = self.url.partition(b"?")
        if is_ours(path) and self.url.isascii() and b"#" not in self.url:
            self._begin_body()
            self._begin_call(path, query)
        else:
            self._begin_cycle()

    def _begin_cycle(self) -> None:
        """uvicorn's way, from the start."""
        url, headers, expects_continue = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects_continue
        self.headers += headers
        super().on_headers_complete()

    def _begin_call(self, path: bytes, query: bytes) -> None:
        parser = self.parser
        method = parser.get_method().decode("ascii")
        version = parser.get_http_version()
        before = self.cycle
        call = Call(
            read_request(method, version, path, query, self.headers, self._max_header_bytes),
            self.transport,
            self.flow,
            self.on_response_complete,
            is_head=method == "HEAD",
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            expects_continue=self.expect_100_continue,
        )
        self.headers = []
        self.cycle = call
        if before is None or before.response_complete:
            self._serve(call)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((call, self.app))  # type: ignore[arg-type]

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_in_body:  # Else it is a trailer.
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        if isinstance(self.cycle, Call):
            self.cycle.feed(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if isinstance(self.cycle, Call):
            self._is_in_body = False
            self._unread_bytes = 0
            self.cycle.end()
        else:
            super().on_message_complete()

    # Serving

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, Call):
            self._serve(cycle)
        else:
            super()._start_asgi_task(cycle, app)

    def _serve(self, call: Call) -> None:
        self._call = call
        if self._worker is None:
            self._worker = self.loop.create_task(self._serve_calls())
            # A graceful stop waits for these.
            self.tasks.add(self._worker)
            self._worker.add_done_callback(self.tasks.discard)
        else:
            _wake(self._waiter)

    async def _serve_calls(self) -> None:
        while not self.transport.is_closing():
            call = self._call
            if call is None or call.response_complete:
                self._waiter = self.loop.create_future()
                await self._waiter
            else:
                await self._answer(call)

    async def _answer(self, call: Call) -> None:
        gateway = self._gateway
        try:
            if isinstance(call.request, Refusal):
                await gateway.refuse(call.request, gateway.new_request_id(), call)
            else:
                await gateway.serve(call.request, call)
        except Exception:
            log.exception("a call failed")
            if not call.is_started:
                await gateway.refuse(refusals.INTERNAL, gateway.new_request_id(), call)
        finally:
            if not call.response_complete:
                # What was begun can't be finished: that is how HTTP/1.1 says that it was cut off.
                self.transport.close()
