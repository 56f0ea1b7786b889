"""One keep-alive HTTP/1.1 connection to a merchant's API, and the exchange under way on it."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from ams_gateway.http import problems
from ams_gateway.http.bodies import ChunkedDecoder, CloseDecoder, Decoder, FramingError, LengthDecoder
from ams_gateway.http.problems import Problem
from ams_gateway.http.responses import InvalidAnswerError, Response, ResponseParser

NEVER_S = float("inf")


class Receiver(Protocol):
    """What an answer is given to. Called from the connection's own callbacks; nothing here waits."""

    def on_answer(self, response: Response, body: bytes, done: bool) -> None:
        """The head, and what came with it of the body."""

    def on_piece(self, data: bytes, done: bool) -> None:
        """More of the body."""

    def on_failed(self, reason: Problem) -> None:
        """Nothing more will come."""

    def on_upstream_full(self, full: bool) -> None:
        """Whether the upstream takes less than is written to it."""


class UpstreamConnection(asyncio.Protocol):
    """Serves one exchange at a time: `send`, then its receiver is told what comes, then `release`."""

    __slots__ = (
        "_buffer",
        "_decoder",
        "_is_head",
        "_is_paused",
        "_keep_alive",
        "_max_head_bytes",
        "_on_lost",
        "_parser",
        "_receiver",
        "_tunnels",
        "_wants_tunnel",
        "idle_since_s",
        "is_done",
        "owner_id",
        "received_any",
        "request_sent",
        "transport",
        "uses",
    )

    def __init__(
        self,
        parser: ResponseParser,
        *,
        max_head_bytes: int,
        on_lost: Callable[["UpstreamConnection"], None],
    ) -> None:
        self._parser = parser
        self._max_head_bytes = max_head_bytes
        self._on_lost = on_lost
        self._receiver: Receiver | None = None
        self._buffer = b""
        self._decoder: Decoder | None = None
        self._is_head = False
        self._is_paused = False
        self._keep_alive = False
        self._wants_tunnel = False
        self._tunnels = False
        self.transport: asyncio.Transport | None = None
        self.uses = 0
        self.idle_since_s = 0.0
        # Whose calls it was opened for.
        self.owner_id = ""
        self.is_done = False
        # Whether the whole request has been written.
        self.request_sent = True
        # Whether anything at all came back: after that a request is never repeated.
        self.received_any = False

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    @property
    def is_busy(self) -> bool:
        return self._receiver is not None

    # The exchange's side

    def send(
        self, receiver: Receiver, data: bytes, *, is_head: bool, is_whole: bool, wants_tunnel: bool = False
    ) -> None:
        """Write a request's head and what there is of its body."""
        self._receiver = receiver
        self._is_head = is_head
        self._decoder = None
        self._keep_alive = False
        self._wants_tunnel = wants_tunnel
        self.is_done = False
        self.received_any = False
        self.request_sent = is_whole
        self.uses += 1
        self.write(data)

    def write(self, data: bytes) -> None:
        # uvloop raises when a closed transport is written to.
        if self.transport is None or self.transport.is_closing():
            self._fail(problems.UPSTREAM_FAILED)
        else:
            self.transport.write(data)

    def pause_reading(self) -> None:
        if not self._is_paused and self.transport is not None:
            self._is_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._is_paused and self.transport is not None:
            self._is_paused = False
            self.transport.resume_reading()

    def abort(self) -> None:
        """Drop the connection. Its receiver, if it has one still, isn't told."""
        self._receiver = None
        if self.transport is not None:
            self.transport.abort()

    def close(self, now_s: float) -> None:
        """End the exchange and the connection. What has been written is the upstream's, which has as long to
        take it as an idle connection is kept."""
        self._receiver = None
        self.idle_since_s = now_s
        if self.transport is not None:
            self.transport.close()

    def release(self, now_s: float) -> bool:
        """End the exchange; whether the connection may serve another."""
        self._receiver = None
        reusable = self.is_done and self._keep_alive and self.request_sent and self.is_open
        if reusable:
            self.idle_since_s = now_s
            self.resume_reading()
        return reusable

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        receiver = self._receiver
        if receiver is not None and not self.is_done:
            if exc is None and (self._tunnels or isinstance(self._decoder, CloseDecoder)):
                self.is_done = True
                receiver.on_piece(b"", True)
            else:
                self._fail(problems.UPSTREAM_FAILED)
        self._on_lost(self)

    def pause_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.on_upstream_full(True)

    def resume_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.on_upstream_full(False)

    def data_received(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is None or self.is_done:
            # Bytes that no request asked for: they would be taken for the next request's answer.
            self._keep_alive = False
            if self.transport is not None:
                self.transport.abort()
            return
        self.received_any = True
        if self._tunnels:
            receiver.on_piece(data, False)
            return
        try:
            if self._decoder is None:
                self._read_head(receiver, data)
            else:
                body = self._decoder.feed(data)
                self._note_end(self._decoder)
                if body or self.is_done:
                    receiver.on_piece(body, self.is_done)
        except (InvalidAnswerError, FramingError):
            self._fail(problems.UPSTREAM_FAILED)

    def _read_head(self, receiver: Receiver, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0 or end > self._max_head_bytes:
                if len(data) > self._max_head_bytes:
                    raise InvalidAnswerError
                self._buffer = data
                return
            response = self._parser.parse(data[:end])
            data = data[end + 4 :]
            if response.status >= 200 or response.status == 101:
                break
        self._begin_body(receiver, response, data)

    def _begin_body(self, receiver: Receiver, response: Response, data: bytes) -> None:
        self._keep_alive = response.keep_alive
        length = response.content_length
        if response.status == 101:
            if not self._wants_tunnel:
                raise InvalidAnswerError
            self._tunnels = True
            self._keep_alive = False
            receiver.on_answer(response, data, False)
            return
        if self._is_head or response.status in (204, 304):
            length_left = 0
        elif length is not None:
            length_left = length
        else:
            self._decoder = ChunkedDecoder() if response.is_chunked else CloseDecoder()
            if not response.is_chunked:
                self._keep_alive = False
            body = self._decoder.feed(data)
            self._note_end(self._decoder)
            receiver.on_answer(response, body, self.is_done)
            return
        if len(data) == length_left:
            # Nearly always: the whole answer in one piece.
            self.is_done = True
            receiver.on_answer(response, data, True)
            return
        self._decoder = LengthDecoder(length_left)
        body = self._decoder.feed(data)
        self._note_end(self._decoder)
        receiver.on_answer(response, body, self.is_done)

    def _note_end(self, decoder: Decoder) -> None:
        self.is_done = decoder.is_done
        if decoder.rest:
            self._keep_alive = False

    def _fail(self, reason: Problem) -> None:
        receiver, self._receiver = self._receiver, None
        if self.transport is not None:
            self.transport.abort()
        if receiver is not None:
            receiver.on_failed(reason)
