"""One keep-alive HTTP/1.1 connection to a merchant's API, and the exchange under way on it."""

import asyncio
from collections.abc import Callable

import httptools

from ams_gateway.http import problems
from ams_gateway.http.headers import parse_response_headers
from ams_gateway.http.problems import Header, Problem

# The parser is paused above this; a slow reader holds at most this and one read.
_HIGH_WATER_BYTES = 128 * 1024

NEVER_S = float("inf")


class UpstreamConnection(asyncio.Protocol):
    """Used for one exchange at a time: `send_request`, then `wait` and `read` until done; `is_reusable` says
    whether it may serve another. What goes wrong is a value in `error`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        max_head_bytes: int,
        idle_s: float,
        on_lost: Callable[["UpstreamConnection"], None],
    ) -> None:
        self._loop = loop
        self._max_head_bytes = max_head_bytes
        self._idle_s = idle_s
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._is_paused = False
        self.is_busy = False
        self.uses = 0
        self.idle_since_s = 0.0
        self._reset(is_head=False)

    def _reset(self, *, is_head: bool) -> None:
        self._is_head = is_head
        self._head_bytes = 0
        self._chunks: list[bytes] = []
        self._buffered_bytes = 0
        self._keeps_alive = False
        self._ends_at_close = False
        self.status = 0
        # What reaches the consumer, once `headers_done`; names in lower case.
        self.headers: list[Header] = []
        self.headers_done = False
        self.is_done = False
        # Whether the whole request has been written.
        self.request_sent = True
        # Whether anything at all came back: after that a request is never repeated.
        self.received_any = False
        self.error: Problem | None = None
        # The sweeper fails the exchange after this moment of the loop's clock.
        self.deadline_s = NEVER_S

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    # The core's side

    def send_request(self, data: bytes, *, is_head: bool, is_whole: bool, timeout_s: float) -> None:
        """Write the head and what there is of the body. The answer's head must come within `timeout_s`."""
        self._reset(is_head=is_head)
        self.is_busy = True
        self.request_sent = is_whole
        self.uses += 1
        self.deadline_s = self._loop.time() + timeout_s
        self.write(data)

    def write(self, data: bytes) -> None:
        # uvloop raises when a closed transport is written to.
        if self._transport is None or self._transport.is_closing():
            self.fail(problems.UPSTREAM_FAILED)
            return
        self._transport.write(data)

    async def drain(self) -> None:
        """Until the transport takes more, or the exchange has failed or been answered."""
        if self._writable is not None and self.error is None and not self.is_done:
            await self._writable

    async def wait(self) -> None:
        """Until there is something new: the head, more of the body, the end or an error."""
        if self.error is None and not self.is_done and not self._chunks:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def read(self) -> tuple[bytes, bool]:
        """What has come of the body since, and whether that was the last of it."""
        chunks = self._chunks
        if not chunks:
            return b"", self.is_done
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered_bytes = 0
        if self._is_paused and self._transport is not None and not self.is_done:
            self._is_paused = False
            self.deadline_s = self._loop.time() + self._idle_s
            self._transport.resume_reading()
        return data, self.is_done

    def fail(self, reason: Problem) -> None:
        """Ends the exchange, and the connection with it. The first reason stands."""
        if self.error is None and not self.is_done:
            self.error = reason
        self.abort()
        self._wake()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def is_reusable(self) -> bool:
        return (
            self.is_done and self._keeps_alive and self.request_sent and self.error is None and self.is_open
        )

    def release(self) -> None:
        """Make it ready for the next exchange, with what the last one has left behind cleared away."""
        self.is_busy = False
        self.deadline_s = NEVER_S
        self.idle_since_s = self._loop.time()
        self.headers = []
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        if self._is_head:
            # A HEAD's answer has a length and no body: the parser would take the next answer for that body.
            self._parser = httptools.HttpResponseParser(self)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._writable is not None and (self.error is not None or self.is_done):
            self.resume_writing()

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self.is_busy and not self.is_done and self.error is None:
            if self._ends_at_close and exc is None:
                self.is_done = True
            else:
                self.error = problems.UPSTREAM_FAILED
        self._wake()
        self.resume_writing()
        self._on_lost(self)

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def data_received(self, data: bytes) -> None:
        if not self.is_busy or self.is_done:
            # Bytes that no request asked for: they would be taken for the next request's answer.
            self._keeps_alive = False
            self.abort()
            return
        self.received_any = True
        if not self.headers_done:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._keeps_alive = False
            self.fail(problems.UPSTREAM_FAILED)
            return
        if not self.headers_done and self._head_bytes > self._max_head_bytes:
            self.fail(problems.UPSTREAM_FAILED)
            return
        if self.headers_done:
            self.deadline_s = self._loop.time() + self._idle_s
            if self._buffered_bytes > _HIGH_WATER_BYTES and not self.is_done:
                self._pause()
            self._wake()

    def _pause(self) -> None:
        if not self._is_paused and self._transport is not None:
            self._is_paused = True
            self.deadline_s = NEVER_S
            self._transport.pause_reading()

    # The parser's side

    def on_message_begin(self) -> None:
        if self.is_done:
            self._keeps_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.headers_done:
            return  # A trailer: it must not touch headers that have been looked at.
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self.headers_done:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self.headers = []
            return
        if not 200 <= status <= 599:
            raise ValueError("no status that can be passed on")
        self.status = status
        self._frame(status)
        # Asked outside the parser's callbacks it always says no, and every request would open a connection.
        self._keeps_alive = self._parser.should_keep_alive()
        self.headers_done = True
        if self._is_head:
            self.is_done = True

    def _frame(self, status: int) -> None:
        """How the body ends; the parser has seen to it that there is one length at most."""
        # Counted exactly only when what was read so far, perhaps with some body, is above the cap.
        if self._head_bytes > self._max_head_bytes and _size(self.headers) > self._max_head_bytes:
            raise ValueError("the answer's head is too large")
        parsed = parse_response_headers(self.headers, has_length=status not in (204, 304))
        self.headers = parsed.headers
        if parsed.coding is not None:
            if parsed.coding.lower() != b"chunked" or self._parser.get_http_version() != "1.1":
                raise ValueError("a transfer coding that can't be undone")
        elif not (parsed.has_length or self._is_head or status in (204, 304)):
            self._ends_at_close = True

    def on_body(self, body: bytes) -> None:
        if self.is_done:
            self._keeps_alive = False
            return
        self._chunks.append(body)
        self._buffered_bytes += len(body)

    def on_message_complete(self) -> None:
        if self.headers_done:
            self.is_done = True


def _size(headers: list[Header]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)
