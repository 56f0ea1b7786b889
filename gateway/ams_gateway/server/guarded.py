"""uvicorn's own HTTP protocol with what it leaves open: bounds on how long a request's head and body may take
to come in, on how long an answer may lie unread, and an answer for who ends the stream after a request.

It is wrapped, not subclassed: what passes between the transport and uvicorn's protocol is watched from
outside.
"""

import asyncio
from typing import Any

from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.importer import import_from_string

from ams_gateway.deadlines import Deadlines
from ams_gateway.gateway import Gateway
from ams_gateway.http import problems
from ams_gateway.http.bodies import ChunkedDecoder, FramingError, LengthDecoder
from ams_gateway.http.problems import Problem
from ams_gateway.http.requests import RequestParser, why_unreadable
from ams_gateway.http.responses import status_line
from ams_gateway.server import half_close
from ams_gateway.server.timeouts import Timeouts

# h11 takes no trailer for a header and bounds a head's size.
_PROTOCOL = "h11"
MAX_HEAD_BYTES = 128 * 1024


class _Watcher:
    """Where a connection's requests stand: in a head, in a body, or between. They are read by the consume
    protocol's own rules, which are stricter than h11's: that unfolds lines and lets a line feed end one."""

    def __init__(self, parser: RequestParser) -> None:
        self._parser = parser
        self._decoder: LengthDecoder | ChunkedDecoder | None = None
        self._head = b""
        # The last one that was begun, as far as it has come.
        self.last_head = b""
        # Whole ones so far.
        self.requests = 0

    @property
    def in_head(self) -> bool:
        return bool(self._head)

    @property
    def in_body(self) -> bool:
        return self._decoder is not None

    def feed(self, data: bytes) -> Problem | None:
        """Why nothing of this may be passed on, if so."""
        data, self._head = self._head + data, b""
        while data:
            if self._decoder is not None:
                try:
                    self._decoder.feed(data)
                except FramingError:
                    return problems.FRAMING_INVALID
                if not self._decoder.is_done:
                    return None
                data, self._decoder = self._decoder.rest, None
                self.requests += 1
                continue
            end = data.find(b"\r\n\r\n")
            if end < 0 or end > MAX_HEAD_BYTES:
                self._head = self.last_head = data
                return problems.HEADERS_TOO_LARGE if len(data) > MAX_HEAD_BYTES else None
            head, data = data[:end].lstrip(b"\r\n"), data[end + 4 :]
            if not head:
                continue
            problem = self._begin(head)
            if problem is not None:
                return problem
        return None

    def _begin(self, head: bytes) -> Problem | None:
        self.last_head = head
        lines = head.split(b"\r\n")
        first = self._parser.first_line(lines[0])
        if first is None:
            return why_unreadable(head)
        request = self._parser.read(first, lines[1:], len(head))
        if request.problem is not None and request.problem.closes:
            return request.problem
        if request.is_chunked:
            self._decoder = ChunkedDecoder()
        elif request.content_length:
            self._decoder = LengthDecoder(request.content_length)
        else:
            self.requests += 1
        return None


class _WatchedTransport:
    """What uvicorn's protocol writes to; remembers when that was."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.has_written = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self.has_written = True
        self._transport.write(data)


class GuardedProtocol(asyncio.Protocol):
    """For uvicorn's `http=`, and for connections that the consume protocol hands over."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        served = import_from_string(HTTP_PROTOCOLS[_PROTOCOL])
        self._inner: asyncio.Protocol = served(
            config=config,
            server_state=server_state,
            # So that the application can say which of the connection's requests it has come to.
            app_state={**app_state, "connection": self},
            _loop=_loop,
        )
        # Requests that the application has got, and those that it has answered.
        self._begun = self._answered = 0
        self._gateway: Gateway = app_state["gateway"]
        self._timeouts: Timeouts = app_state["timeouts"]
        self._deadlines: Deadlines = app_state["deadlines"]
        self._transport: asyncio.Transport
        self._watched: _WatchedTransport
        self._watcher = _Watcher(app_state["request_parser"])
        self._clock = asyncio.get_running_loop().time
        self._head_since_s = 0.0
        self._read_at_s = self._clock()
        self._sent_at_s = 0.0
        self._unsent_bytes = 0
        self._ended_at_s = 0.0
        self._answered_at_s = 0.0
        self._has_asked = False
        # Something came that can't be passed on: nothing is read after it.
        self._is_refusing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._watched = _WatchedTransport(self._transport)
        self._inner.connection_made(self._watched)  # type: ignore[arg-type]
        if not self._deadlines.admit(self):
            self._is_refusing = True
            self._gateway.refuse(problems.GATEWAY_FULL, self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadlines.connections.discard(self)
        self._inner.connection_lost(exc)
        # It leads back here, by the application's state: a cycle, which the collector might never look for.
        # And there is nothing to close any more for a request that the application gets only now.
        self._ended_at_s = 0.0
        del self._inner

    def data_received(self, data: bytes) -> None:
        if self._is_refusing:
            return
        self._read_at_s = self._clock()
        self._has_asked = True
        passed = self._watcher.requests
        problem = self._watcher.feed(data)
        if problem is not None:
            self._watcher.requests = passed
            self._stop_reading(problem)
            return
        if not self._watcher.in_head:
            self._head_since_s = 0.0
        elif not self._head_since_s:
            self._head_since_s = self._read_at_s
        self._inner.data_received(data)

    def eof_received(self) -> bool:
        """A consumer may end its stream after a whole request, and still wait for the answer."""
        if self._is_refusing:
            return True
        if not self._has_asked or self._watcher.in_body or self._watcher.in_head:
            return False
        self._ended_at_s = self._clock()
        self._close_after_last()
        return True

    def _stop_reading(self, problem: Problem) -> None:
        """At what can't be passed on. What was passed on before it is answered first, and is the last."""
        if not self._watcher.requests:
            self._gateway.refuse_unread(problem, self, self._watcher.last_head)
        elif self._answered >= self._watcher.requests:
            # Its answer could be taken for that of an earlier request.
            self._transport.close()
        else:
            self._is_refusing = True
            self._ended_at_s = self._clock()
            self._transport.pause_reading()
            self._close_after_last()

    def begin_request(self) -> None:
        """The application has got the next of the connection's requests."""
        self._begun += 1
        self._watched.has_written = False
        self._close_after_last()

    def end_request(self) -> None:
        """The application is done with it, though its body may still be coming."""
        self._answered += 1
        self._answered_at_s = self._clock()

    def _close_after_last(self) -> None:
        """Who has ended its stream asks nothing more: without this it would wait for the end of its answer's
        connection until that has been idle for too long."""
        if self._ended_at_s and self._begun >= self._watcher.requests:
            # As the server says it when it stops: the answer under way is the last one.
            self._inner.shutdown()  # type: ignore[attr-defined]

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    # What the gateway answers by itself: there is no request yet that the application could answer.

    def close_after(self) -> None:
        """Every such answer is the last."""

    def start(self, status: int, fields: bytes, length: int | None, body: bytes, more: bool) -> None:
        if not self._transport.is_closing():
            framing = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
            self._transport.write(status_line(status) + fields + framing + body)
        self._transport.close()

    @property
    def unused_since_s(self) -> float | None:
        watcher = self._watcher
        is_used = watcher.in_head or watcher.in_body or self._answered != watcher.requests
        return None if is_used else max(self._read_at_s, self._answered_at_s)

    def close(self) -> None:
        self._transport.close()

    def sweep(self, now_s: float) -> None:
        transport, timeouts = self._transport, self._timeouts
        unsent_bytes = transport.get_write_buffer_size()
        if not unsent_bytes or unsent_bytes != self._unsent_bytes:
            self._sent_at_s = now_s
        self._unsent_bytes = unsent_bytes
        if unsent_bytes and now_s - self._sent_at_s > timeouts.write_s:
            transport.abort()
        elif self._ended_at_s:
            self._sweep_ended(now_s)
        elif transport.is_closing() or not transport.is_reading():
            return
        elif self._watcher.in_body:
            if now_s - self._read_at_s > timeouts.body_s:
                transport.close()
        elif self._head_since_s:
            if now_s - self._head_since_s > timeouts.head_s:
                self._gateway.refuse_unread(problems.REQUEST_TIMEOUT, self, self._watcher.last_head)
        elif (
            self._answered == self._watcher.requests
            and now_s - max(self._read_at_s, self._answered_at_s) > timeouts.idle_s
        ):
            # uvicorn counts by itself (timeout_keep_alive), but neither before the first request nor when the
            # rest of a body has come after its answer: then it would wait for ever.
            transport.close()

    def _sweep_ended(self, now_s: float) -> None:
        """Find out whether a consumer who has ended its stream still waits for the answer."""
        if half_close.is_gone(self._transport):
            self._transport.abort()
        elif now_s - self._ended_at_s > half_close.PROBE_AFTER_S and not self._watched.has_written:
            self._ended_at_s = now_s
            self._transport.write(half_close.PROBE)
