"""uvicorn's HTTP protocol with what it leaves open: a bound on the head, and trailers kept out of it."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# What one read of the socket may bring beyond the bound before it is noticed.
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/problem+json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
)
_BODY = (
    b'{"type": "urn:ams:problem:headers_too_large", "title": "Headers too large", "status": 431, '
    b'"detail": "The request\'s headers are too large.", "code": "headers_too_large"}'
)
# The door refuses what is above its own, configured bound; this one keeps memory bounded before that.
MAX_HEAD_BYTES = 128 * 1024


_SWEEP_S = 5.0


class _Dropped(list[tuple[bytes, bytes]]):
    """Where trailers go: however many there are, nothing is kept."""

    def append(self, item: tuple[bytes, bytes]) -> None:
        pass


class GatewayProtocol(HttpToolsProtocol):
    """For uvicorn's `http=`. The parser caps nothing, and hands trailers over as if they were headers,
    into the very list that the application is looking at. And a timer per request is too dear: idle
    connections are swept instead."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_in_body = False
        self._unread_bytes = 0
        self._idle_since_s = 0.0
        self._sweep: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle_since_s = self.loop.time()
        self._sweep = self.loop.call_later(_SWEEP_S, self._close_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        super().connection_lost(exc)

    def _close_if_idle(self) -> None:
        """Also what has been sending a head for as long as that."""
        is_waiting = self.cycle is None or self.cycle.response_complete
        if is_waiting and self.loop.time() - self._idle_since_s > self.timeout_keep_alive:
            self.transport.close()
        else:
            self._sweep = self.loop.call_later(_SWEEP_S, self._close_if_idle)

    def data_received(self, data: bytes) -> None:
        if not self._is_in_body:
            self._unread_bytes += len(data)
        super().data_received(data)
        if self._unread_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE % (len(_BODY), _BODY))
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._is_in_body = True
        self._unread_bytes = 0
        super().on_headers_complete()
        self.headers = _Dropped()

    def on_message_complete(self) -> None:
        self._is_in_body = False
        self._unread_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self._idle_since_s = self.loop.time()
