"""uvicorn's HTTP protocol with what it leaves open: bounds on the size of a request's head, on how long a
request may take to come in and on how long an answer may lie unread. Trailers are kept out of the headers."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ams_gateway.http import problems
from ams_gateway.http.problems import Problem, render

# `parse_headers` refuses what is above the configured bound; this one keeps memory bounded before that.
MAX_HEAD_BYTES = 128 * 1024

_SWEEP_S = 5.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a consumer's connection may stay without progress; exact to `sweep_s`."""

    # From a head's first byte to its last.
    head_s: float = 10.0
    # Between two pieces of a body that is being waited for.
    body_s: float = 15.0
    # While nothing of what was written is taken.
    write_s: float = 60.0
    # Between two requests.
    idle_s: float = 75.0

    @property
    def sweep_s(self) -> float:
        return min(_SWEEP_S, min(self.head_s, self.body_s, self.write_s, self.idle_s) / 2)


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
        self._timeouts: Timeouts = app_state.get("timeouts") or Timeouts()
        self._sweep: asyncio.TimerHandle | None = None
        self._is_in_body = False
        # How much of a head that isn't complete has come, and since when.
        self._head_bytes = 0
        self._head_since_s = 0.0
        self._body_at_s = 0.0  # when its last piece came
        self._idle_since_s = 0.0  # when the last answer was complete
        self._sent_at_s = 0.0  # when unsent bytes last became fewer
        self._unsent_bytes = 0

    # The transport's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle_since_s = time.monotonic()
        self._sweep = self.loop.call_later(self._timeouts.sweep_s, self._check_timeouts)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._is_in_body:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_in_body:
            self._body_at_s = time.monotonic()
        elif self._head_bytes > MAX_HEAD_BYTES:
            self._send_problem(problems.HEADERS_TOO_LARGE)
        elif self._head_bytes and not self._head_since_s:
            self._head_since_s = time.monotonic()

    def _send_problem(self, problem: Problem) -> None:
        """Answer straight to the transport: there is no request yet whose cycle could do it."""
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
        self._head_bytes = 0
        self._head_since_s = 0.0

    def on_message_complete(self) -> None:
        self._is_in_body = False
        self._head_bytes = 0
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

    # Every few seconds

    def _check_timeouts(self) -> None:
        now_s = time.monotonic()
        unsent_bytes = self.transport.get_write_buffer_size()
        if not unsent_bytes or unsent_bytes != self._unsent_bytes:
            self._sent_at_s = now_s
        self._unsent_bytes = unsent_bytes
        if self._unsent_bytes and now_s - self._sent_at_s > self._timeouts.write_s:
            # close() would wait for the bytes to be taken; abort() tells the application of a hang-up.
            self.transport.abort()
        elif not self.transport.is_closing():
            self._close_if_late(now_s)
        self._sweep = self.loop.call_later(self._timeouts.sweep_s, self._check_timeouts)

    def _close_if_late(self, now_s: float) -> None:
        timeouts = self._timeouts
        is_answered = self.cycle is None or self.cycle.response_complete
        if self._is_in_body:
            # While reading is paused it is the gateway that takes nothing of what the consumer sends.
            if not self.flow.read_paused and now_s - self._body_at_s > timeouts.body_s:
                self.transport.close()
        elif is_answered and self._head_since_s:
            if now_s - max(self._head_since_s, self._idle_since_s) > timeouts.head_s:
                self._send_problem(problems.REQUEST_TIMEOUT)
        elif is_answered and now_s - self._idle_since_s > timeouts.idle_s:
            self.transport.close()
