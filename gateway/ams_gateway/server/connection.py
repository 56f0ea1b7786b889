"""The consume protocol: consumers' connections, and the calls on them one after the other.

An asyncio protocol of ours, for uvicorn's `http=`. A request that isn't a consume request takes its
connection along to uvicorn's own protocol and the Starlette app behind it.
"""

import asyncio
import time
from typing import Any

from ams_gateway.call import ClientGoneError
from ams_gateway.deadlines import Deadlines
from ams_gateway.gateway import Gateway
from ams_gateway.http import problems
from ams_gateway.http.bodies import ChunkedDecoder, FramingError, LengthDecoder, frame_chunk
from ams_gateway.http.problems import Problem
from ams_gateway.http.requests import Request, RequestParser, why_unreadable
from ams_gateway.http.responses import status_line
from ams_gateway.http.websocket import UPGRADE_FIELDS
from ams_gateway.server import half_close
from ams_gateway.server.guarded import GuardedProtocol
from ams_gateway.server.timeouts import Timeouts
from ams_gateway.upstream.exchange import Exchange

# `RequestParser` refuses what is above the configured bound; this one keeps memory bounded before that.
MAX_HEAD_BYTES = 128 * 1024
# How much of a request is kept that nobody takes yet.
_HIGH_WATER_BYTES = 64 * 1024
# How much of a body is read over that nobody wants any more, so that its sender reads the answer.
_MAX_DISCARDED_BYTES = 1024 * 1024


class ConsumeProtocol(asyncio.Protocol):
    """One consumer's connection. It is its calls' `Caller`: there is one at a time, and what comes after it
    waits unread."""

    __slots__ = (
        "_body_at_s",
        "_buffer",
        "_close_after",
        "_config",
        "_deadlines",
        "_decoder",
        "_discarded_bytes",
        "_ended_at_s",
        "_exchange",
        "_gateway",
        "_head",
        "_head_since_s",
        "_idle_since_s",
        "_is_advancing",
        "_is_answering",
        "_is_chunked",
        "_is_reading_paused",
        "_is_started",
        "_is_tunnel",
        "_loop",
        "_parser",
        "_peer",
        "_pieces",
        "_request",
        "_sent_at_s",
        "_server_state",
        "_state",
        "_timeouts",
        "_transport",
        "_unsent_bytes",
        "_waiter",
        "is_full",
        "is_gone",
    )

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        self._config = config
        self._server_state = server_state
        self._state = app_state
        self._loop = _loop
        self._gateway: Gateway = app_state["gateway"]
        self._parser: RequestParser = app_state["request_parser"]
        self._timeouts: Timeouts = app_state["timeouts"]
        self._deadlines: Deadlines = app_state["deadlines"]
        self._transport: asyncio.Transport
        self._peer = ""
        self._buffer = b""
        # The last head: many consumers send the same one with every request.
        self._head = b""
        self._request: Request | None = None
        self._decoder: LengthDecoder | ChunkedDecoder | None = None
        self._exchange: Exchange | None = None
        # What has come of a body before there is an exchange to take it.
        self._pieces: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._is_answering = False
        self._is_started = False
        self._is_chunked = False
        self._is_tunnel = False
        self._close_after = False
        self._is_advancing = False
        self._is_reading_paused = False
        self._ended_at_s = 0.0  # when the consumer has ended its stream
        self._discarded_bytes = 0
        self.is_full = False
        self.is_gone = False
        self._head_since_s = 0.0
        self._body_at_s = 0.0
        self._idle_since_s = time.monotonic()
        self._sent_at_s = 0.0  # when unsent bytes last became fewer
        self._unsent_bytes = 0

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        peer = transport.get_extra_info("peername")
        # A socket file's has no address.
        self._peer = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        self._server_state.connections.add(self)
        if not self._deadlines.admit(self):
            self._refuse(problems.GATEWAY_FULL, b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self._server_state.connections.discard(self)
        self._deadlines.connections.discard(self)
        self.is_gone = True
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.on_client_gone()
        self._wake()

    def shutdown(self) -> None:
        """uvicorn stops: no request after the one that is being answered."""
        if self._is_answering:
            self._close_after = True
        else:
            self._transport.close()

    def eof_received(self) -> bool:
        """A consumer may end its stream after a whole request, and still wait for the answer."""
        if self._is_tunnel and self._exchange is not None:
            # There is no half of a WebSocket: what the merchant sends from now on would be counted unread.
            exchange, self._exchange = self._exchange, None
            exchange.on_client_gone()
        if not self._is_answering or self._is_tunnel or self._decoder is not None:
            return False
        self._ended_at_s = time.monotonic()
        return True

    def pause_writing(self) -> None:
        self.is_full = True
        if self._exchange is not None:
            self._exchange.on_client_full(True)

    def resume_writing(self) -> None:
        self.is_full = False
        if self._exchange is not None:
            self._exchange.on_client_full(False)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        self._advance(data)

    # Reading requests

    def _advance(self, data: bytes) -> None:
        """Take in what has come, one request after the other."""
        self._is_advancing = True
        try:
            while data and not self._transport.is_closing():
                if self._decoder is not None:
                    data = self._read_body(self._decoder, data)
                elif self._is_answering:
                    if self._is_tunnel:
                        self._pass_through(data)
                    else:
                        self._keep(data)
                    break
                else:
                    data = self._read_head(data)
        except FramingError:
            self._refuse_framing()
        finally:
            self._is_advancing = False

    def _keep(self, data: bytes) -> None:
        """The next request waits until the present one is answered."""
        self._buffer = data
        if len(data) > _HIGH_WATER_BYTES:
            self.pause()

    def _pass_through(self, data: bytes) -> None:
        if self._exchange is not None:
            self._exchange.upload(data, False, time.monotonic())

    def _read_head(self, data: bytes) -> bytes:
        """Begins a call if the head is whole; what of `data` comes after what was read."""
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > MAX_HEAD_BYTES:
            if len(data) > MAX_HEAD_BYTES:
                self._refuse(problems.HEADERS_TOO_LARGE, data)
            else:
                self._buffer = data
                self._head_since_s = self._head_since_s or time.monotonic()
            return b""
        head = data[:end]
        self._head_since_s = 0.0
        if head == self._head and self._request is not None:
            return self._begin(self._request, data[end + 4 :])
        request = self._parser.read_plain(head)
        if request is None:
            return self._read_lines(head, data)
        self._head, self._request = head, request
        request.peer, request.head = self._peer, head
        return self._begin(request, data[end + 4 :])

    def _read_lines(self, head: bytes, data: bytes) -> bytes:
        """As `_read_head`, for a head that isn't plain."""
        lines = head.split(b"\r\n")
        first = self._parser.first_line(lines[0])
        if first is None:
            if head.startswith(b"\r\n"):
                # RFC 9112 §2.2: an empty line before a request is read over.
                return data[2:]
            self._refuse(why_unreadable(head), head)
            return b""
        if not first.is_ours:
            self._hand_over(data)
            return b""
        del lines[0]
        self._parser.learn(lines)
        request = self._parser.read(first, lines, len(head))
        if request.problem is not None and request.problem.closes:
            self._refuse(request.problem, head)
            return b""
        self._head, self._request = head, request
        request.peer, request.head = self._peer, head
        return self._begin(request, data[len(head) + 4 :])

    def _begin(self, request: Request, data: bytes) -> bytes:
        """Serves the request with what there is of its body."""
        self._is_answering = True
        self._is_started = False
        self._close_after = not request.keep_alive or self._close_after
        body, is_whole = b"", True
        if request.has_body:
            length = request.content_length
            if length is not None and len(data) >= length:
                body, data = data[:length], data[length:]
            else:
                self._decoder = ChunkedDecoder() if length is None else LengthDecoder(length)
                self._body_at_s = time.monotonic()
                body = self._decoder.feed(data)
                data = self._decoder.rest
                is_whole = self._decoder.is_done
                if is_whole:
                    self._decoder = None
        self._gateway.serve(request, self, body, is_whole)
        return data

    def _read_body(self, decoder: LengthDecoder | ChunkedDecoder, data: bytes) -> bytes:
        body = decoder.feed(data)
        done = decoder.is_done
        self._body_at_s = time.monotonic()
        if done:
            self._decoder = None
        if self._exchange is not None:
            self._exchange.upload(body, done, self._body_at_s)
        elif self._is_answering:
            self._pieces.append(body)
            if sum(map(len, self._pieces)) > _HIGH_WATER_BYTES:
                self.pause()
            self._wake()
        else:
            self._discard(len(body), done)
        return decoder.rest

    def _discard(self, size_bytes: int, done: bool) -> None:
        """What comes of a body after its request was answered."""
        self._discarded_bytes += size_bytes
        if done and not self._close_after:
            self._discarded_bytes = 0
            self._idle_since_s = time.monotonic()
        elif done or self._discarded_bytes > _MAX_DISCARDED_BYTES:
            self._transport.close()

    def _hand_over(self, data: bytes) -> None:
        """The connection isn't ours from here on."""
        self._server_state.connections.discard(self)
        self._deadlines.connections.discard(self)
        protocol = GuardedProtocol(self._config, self._server_state, self._state, self._loop)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(data)

    def _refuse(self, problem: Problem, head: bytes) -> None:
        """Answer what can't be read on. `head`: what there is of it."""
        self._is_answering, self._is_started, self._request = True, False, None
        self._gateway.refuse_unread(problem, self, head)

    def _refuse_framing(self) -> None:
        """The body can't be read on, and its end can't be found."""
        self._decoder = None
        if self._is_answering and not self._is_started:
            exchange, self._exchange = self._exchange, None
            if exchange is not None:
                # The merchant has had some of it: metered as if the consumer had hung up there.
                exchange.on_client_gone()
            self._refuse(problems.FRAMING_INVALID, self._head)
            # A call that still waits for its connection must not go on with what there was of its body.
            self.is_gone = True
            self._wake()
        else:
            self._transport.close()

    # The call's side: see gateway.Caller

    def attach(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def close_after(self) -> None:
        self._close_after = True

    async def first_piece(self) -> tuple[bytes, bool]:
        request = self._request
        if request is not None and request.expects_continue and not self._pieces and not self.is_gone:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self._pieces and self._decoder is not None and not self.is_gone:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self.is_gone:
            raise ClientGoneError
        return self.take()

    def take(self) -> tuple[bytes, bool]:
        pieces, self._pieces = self._pieces, []
        self.resume()
        return b"".join(pieces), self._decoder is None

    def start(self, status: int, fields: bytes, length: int | None, body: bytes, more: bool) -> None:
        if self.is_gone or self._transport.is_closing():
            return
        request = self._request
        is_bodiless = status in (204, 304) or (request is not None and request.method == "HEAD")
        is_old = request is not None and request.minor_version == 0
        self._is_started = True
        self._is_chunked = False
        framing = b""
        if length is not None:
            framing = b"content-length: %d\r\n" % length
        elif status == 101:
            self._open_tunnel(fields, body)
            return
        elif not is_bodiless:
            if is_old:
                self._close_after = True
            else:
                self._is_chunked = True
                framing = b"transfer-encoding: chunked\r\n"
        if (self._ended_at_s and not self._buffer) or (
            self._decoder is not None and not more and self._left_bytes() > _MAX_DISCARDED_BYTES
        ):
            self._close_after = True
        if self._close_after:
            framing += b"connection: close\r\n"
        elif is_old:
            framing += b"connection: keep-alive\r\n"
        if is_bodiless:
            body = b""
        elif self._is_chunked:
            body = frame_chunk(body, last=not more)
        self._transport.write(b"%b%b%b\r\n%b" % (status_line(status), fields, framing, body))
        if not more:
            self._complete()

    def _open_tunnel(self, fields: bytes, body: bytes) -> None:
        self._is_tunnel = self._close_after = True
        self._transport.write(b"%b%b%b\r\n%b" % (status_line(101), fields, UPGRADE_FIELDS, body))
        if self._ended_at_s:
            # It has hung up on what it asked for; `connection_lost` ends the call.
            self._transport.close()
            return
        # A hasty consumer's first frames, which have waited like a next request.
        data, self._buffer = self._buffer, b""
        self.resume()
        if data:
            self._pass_through(data)

    def write(self, data: bytes, more: bool) -> None:
        if self._is_chunked:
            data = frame_chunk(data, last=not more)
        if self.is_gone or self._transport.is_closing():
            return
        if data:
            self._transport.write(data)
        if not more:
            self._complete()

    def cut(self) -> None:
        self._exchange = None
        # Not abort(): what was sent of the answer belongs to the consumer.
        self._transport.close()

    def pause(self) -> None:
        if not self._is_reading_paused:
            self._is_reading_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._is_reading_paused and not self.is_gone:
            self._is_reading_paused = False
            self._body_at_s = time.monotonic()
            self._transport.resume_reading()

    def _left_bytes(self) -> int:
        """How much of the body is still to come; of a chunked one nobody knows."""
        decoder = self._decoder
        return decoder.left if isinstance(decoder, LengthDecoder) else _MAX_DISCARDED_BYTES + 1

    def _complete(self) -> None:
        self._is_answering = False
        self._exchange = None
        self._pieces.clear()
        self._server_state.total_requests += 1
        self._idle_since_s = time.monotonic()
        if self._decoder is not None:
            # The body is read over to its end, or some way: closing at once would take the answer back.
            self.resume()
            self._body_at_s = self._idle_since_s
        elif self._close_after:
            self._transport.close()
        else:
            self.resume()
            if self._buffer and not self._is_advancing:
                data, self._buffer = self._buffer, b""
                self._advance(data)
            if self._ended_at_s and not self._is_answering:
                self._transport.close()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Now and then

    @property
    def unused_since_s(self) -> float | None:
        is_used = self._is_answering or self._decoder is not None or self._head_since_s
        return None if is_used else self._idle_since_s

    def close(self) -> None:
        self._transport.close()

    def sweep(self, now_s: float) -> None:
        """Close the connection when it has been without progress for too long."""
        transport = self._transport
        unsent_bytes = transport.get_write_buffer_size()
        if not unsent_bytes or unsent_bytes != self._unsent_bytes:
            self._sent_at_s = now_s
        self._unsent_bytes = unsent_bytes
        timeouts = self._timeouts
        if unsent_bytes and now_s - self._sent_at_s > timeouts.write_s:
            # close() would wait for the bytes to be taken.
            transport.abort()
        elif self._ended_at_s:
            self._sweep_ended(now_s)
        elif transport.is_closing():
            return
        elif self._decoder is not None:
            # While reading is paused it is the gateway that takes nothing of what the consumer sends.
            if not self._is_reading_paused and now_s - self._body_at_s > timeouts.body_s:
                transport.close()
        elif not self._is_answering and self._head_since_s:
            if now_s - self._head_since_s > timeouts.head_s:
                self._refuse(problems.REQUEST_TIMEOUT, self._buffer)
        elif not self._is_answering and now_s - self._idle_since_s > timeouts.idle_s:
            transport.close()

    def _sweep_ended(self, now_s: float) -> None:
        """Find out whether a consumer who has ended its stream still waits for the answer."""
        if half_close.is_gone(self._transport):
            self._transport.abort()
        elif now_s - self._ended_at_s > half_close.PROBE_AFTER_S and not self._is_started:
            self._ended_at_s = now_s
            if self._request is not None and self._request.minor_version > 0:
                self._transport.write(half_close.PROBE)
