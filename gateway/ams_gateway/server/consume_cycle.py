"""One request and its answer behind the consume protocol."""

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ams_gateway.http.headers import Request
from ams_gateway.http.problems import Header, Problem
from ams_gateway.upstream.exchange import ClientGoneError, frame_chunk


class ConsumeCycle:
    """The core's client. It stands where uvicorn keeps its own request cycle,
    so that keep-alive, pipelining and graceful stop are uvicorn's for both entries."""

    __slots__ = (
        "_expects_continue",
        "_flow",
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
        request: Request | Problem,
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
        wake(self._waiter)

    def end(self) -> None:
        self.more_body = False
        wake(self._waiter)

    @property
    def message_event(self) -> "ConsumeCycle":
        """uvicorn calls `.set()` on its cycle's event when the connection is lost: here that wakes `read`."""
        return self

    def set(self) -> None:
        wake(self._waiter)

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
        """Write the status line, the headers and the first of the body. See `exchange.Client`.

        Headers aren't checked again: they are what httptools has let through, or the gateway's own.
        """
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            raise ClientGoneError
        self.is_started = True
        has_length = False
        parts = [STATUS_LINE[status]]
        for name, value in headers:
            if name == b"content-length":
                has_length = True
            elif name == b"connection":
                # An upstream's was dropped as hop-by-hop. Ours comes with a problem after which nothing more
                # may be read from the connection, and says close.
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
            raise ClientGoneError
        self._transport.write(self._frame(data, more))
        if not more:
            self._complete()

    def is_gone(self) -> bool:
        return self.disconnected

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


def wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
