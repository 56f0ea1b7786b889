"""uvicorn's HTTP protocol with what it leaves open: bounds on a head's size, on how long a request may take
to come in and on how long an answer may lie unread; and trailers kept out of the headers."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ams_gateway import problems
from ams_gateway.problems import Problem, render

# `parse_headers` refuses what is above the configured bound; this one keeps memory bounded before that.
MAX_HEAD_BYTES = 128 * 1024

_SWEEP_S = 5.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a consumer's connection may stay without progress; exact to a sweep."""

    # From a head's first byte to its last.
    head_s: float = 10.0
    # Between two pieces of a body that is being waited for.
    body_s: float = 15.0
    # While nothing of what was written is taken.
    unread_s: float = 60.0
    # Between two requests.
    idle_s: float = 75.0

    @property
    def sweep_s(self) -> float:
        return min(_SWEEP_S, min(self.head_s, self.body_s, self.unread_s, self.idle_s) / 2)


class _Dropped(list[tuple[bytes, bytes]]):
    """Where trailers go: however many there are, nothing is kept."""

    def append(self, item: tuple[bytes, bytes]) -> None:
        pass


class GatewayProtocol(HttpToolsProtocol):
    """For uvicorn's `http=`. The parser caps nothing, and hands trailers over as if they were headers,
    into the very list that the application is looking at. And a timer per request is too dear: each
    connection is looked at every few seconds instead."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._patience: Patience = app_state.get("patience") or Patience()
        self._sweep: asyncio.TimerHandle | None = None
        self._is_in_body = False
        # Of a head that isn't complete.
        self._unread_bytes = 0
        self._head_since_s = 0.0
        # When the last piece of a body came, the last answer was complete, unsent bytes last became fewer.
        self._body_at_s = 0.0
        self._idle_since_s = 0.0
        self._sent_at_s = 0.0
        self._unsent_bytes = 0

    # The transport's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle_since_s = time.monotonic()
        self._sweep = self.loop.call_later(self._patience.sweep_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._is_in_body:
            self._unread_bytes += len(data)
        super().data_received(data)
        if self._is_in_body:
            self._body_at_s = time.monotonic()
        elif self._unread_bytes > MAX_HEAD_BYTES:
            self._send_problem(problems.HEADERS_TOO_LARGE)
        elif self._unread_bytes and not self._head_since_s:
            self._head_since_s = time.monotonic()

    def _send_problem(self, problem: Problem) -> None:
        """Before there is a request that could be answered."""
        if self.transport.is_closing():
            return
        headers, body = render(problem, str(uuid4()))
        lines = [b"%b: %b\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[problem.status], *lines, b"\r\n", body]))
        self.transport.close()

    # The parser's side

    def on_headers_complete(self) -> None:
        self._begin_body()
        super().on_headers_complete()
        self.headers = _Dropped()

    def _begin_body(self) -> None:
        self._is_in_body = True
        self._unread_bytes = 0
        self._head_since_s = 0.0

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
            self._idle_since_s = time.monotonic()

    # Swept

    def _look(self) -> None:
        now_s = time.monotonic()
        self._note_sent(now_s)
        if self._unsent_bytes and now_s - self._sent_at_s > self._patience.unread_s:
            # To close would be to wait for the bytes to be taken. The application hears of a hang-up.
            self.transport.abort()
        elif not self.transport.is_closing():
            self._close_if_late(now_s)
        self._sweep = self.loop.call_later(self._patience.sweep_s, self._look)

    def _note_sent(self, now_s: float) -> None:
        unsent_bytes = self.transport.get_write_buffer_size()
        if not unsent_bytes or unsent_bytes != self._unsent_bytes:
            self._sent_at_s = now_s
        self._unsent_bytes = unsent_bytes

    def _close_if_late(self, now_s: float) -> None:
        patience = self._patience
        is_answered = self.cycle is None or self.cycle.response_complete
        if self._is_in_body:
            # Paused: it is we who don't take what it sends.
            if not self.flow.read_paused and now_s - self._body_at_s > patience.body_s:
                self.transport.close()
        elif is_answered and self._head_since_s:
            if now_s - max(self._head_since_s, self._idle_since_s) > patience.head_s:
                self._send_problem(problems.REQUEST_TIMEOUT)
        elif is_answered and now_s - self._idle_since_s > patience.idle_s:
            self.transport.close()
