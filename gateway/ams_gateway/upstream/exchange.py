"""One call on its way through a merchant's API, from the moment it is handed over to its usage event."""

from collections.abc import Callable
from typing import Any, Protocol

from ams.usage.v1.events_pb2 import ANSWERED, Outcome

from ams_gateway.http import problems
from ams_gateway.http.bodies import frame_chunk
from ams_gateway.http.problems import Problem
from ams_gateway.http.responses import Response
from ams_gateway.upstream.connection import UpstreamConnection
from ams_gateway.upstream.outcomes import TOTAL_TIME_OVER, outcome_of

NEVER_S = float("inf")


class Client(Protocol):
    """The consumer's side, as an entry presents it. Nothing here waits: what can't be sent yet is kept, and
    `is_full` says so; then the exchange is told when there is room."""

    @property
    def is_full(self) -> bool: ...

    def start(self, status: int, fields: bytes, length: int | None, body: bytes, more: bool) -> None:
        """Send the status, the fields (lines with their ends) and the first of the body. `length` is the
        body's; None: only its end will show it. After a 101 bytes pass as they are, both ways: the exchange
        gets the consumer's by `upload`, and the connection ends with it."""

    def write(self, data: bytes, more: bool) -> None:
        """Send more of the body."""

    def cut(self) -> None:
        """Close the connection: what was begun can't be finished, and must not look as if it were."""

    def pause(self) -> None:
        """Take no more of the request's body until `resume`."""

    def resume(self) -> None: ...


class Counted(Protocol):
    """What is counted of a call; messages are those of a WebSocket, whose handshake has the key."""

    request_bytes: int
    response_bytes: int
    request_messages: int
    response_messages: int
    websocket_key: bytes | None


class Timeouts:
    """How long a call may take, in seconds: to the first byte of its answer, between two pieces of it, and in
    all. Its service's merchant sets them within bounds."""

    __slots__ = ("first_byte_s", "idle_s", "total_s")

    def __init__(self, first_byte_s: float, idle_s: float, total_s: float) -> None:
        self.first_byte_s = first_byte_s
        self.idle_s = idle_s
        self.total_s = total_s


# Writes the usage event, and says whether that has worked.
Record = Callable[[Any, int, Outcome.ValueType], bool]
# Makes the fields that the consumer gets of an answer.
Compose = Callable[[Response], bytes]


class Exchange:
    """Created when a connection has been chosen; `begin` hands the request over. `ended` is called once, when
    the connection isn't needed any more: with None when the answer was passed on, else with why not."""

    # Whether the request asks the upstream to switch protocols.
    _wants_tunnel = False
    _is_over = False
    _is_chunked = False
    _max_body_bytes = 0
    # What the sweeper compares with the loop's clock.
    _deadline_s = NEVER_S
    _ends_at_s = NEVER_S
    is_started = False
    status = 0
    # Set for a request that may be repeated: called instead of `ended` when its connection was dead.
    repeat: "Callable[[Exchange], None] | None" = None

    def __init__(
        self,
        client: Client,
        connection: UpstreamConnection,
        counted: Counted,
        record: Record,
        compose: Compose,
        timeouts: Timeouts,
        ended: "Callable[[Exchange, Problem | None], None]",
    ) -> None:
        self._client = client
        self.connection = connection
        self.counted = counted
        self._record = record
        self._compose = compose
        self._timeouts = timeouts
        self._ended = ended

    def begin(self, head: bytes, body: bytes, now_s: float, *, is_head: bool) -> None:
        """Hand over a request with its whole body."""
        self._start_clocks(now_s)
        self.connection.send(
            self, head + body, is_head=is_head, is_whole=True, wants_tunnel=self._wants_tunnel
        )

    def begin_upload(
        self, head: bytes, piece: bytes, now_s: float, *, is_chunked: bool, max_body_bytes: int
    ) -> None:
        """Hand over a request whose body goes on; `upload` brings the rest."""
        self._start_clocks(now_s)
        self._is_chunked = is_chunked
        self._max_body_bytes = max_body_bytes
        if is_chunked:
            piece = frame_chunk(piece, last=False)
        self.connection.send(self, head + piece, is_head=False, is_whole=False)

    def _start_clocks(self, now_s: float) -> None:
        self._deadline_s = now_s + self._timeouts.first_byte_s
        self._ends_at_s = now_s + self._timeouts.total_s

    def upload(self, data: bytes, done: bool, now_s: float) -> None:
        """More of the request's body. What comes after the answer, or the failure, is nobody's."""
        connection = self.connection
        if self._is_over or connection.is_done:
            return
        self.counted.request_bytes += len(data)
        if self._is_chunked:
            # A length that was given has been checked before.
            if self.counted.request_bytes > self._max_body_bytes:
                self.fail(problems.BODY_TOO_LARGE)
                return
            data = frame_chunk(data, last=done)
        if done:
            connection.request_sent = True
        if not self.is_started:
            self._deadline_s = now_s + self._timeouts.first_byte_s
        connection.write(data)

    # The upstream's side

    def on_answer(self, response: Response, body: bytes, done: bool) -> None:
        self.counted.response_bytes = len(body)
        self.status = status = response.status
        fields = self._compose(response)
        if done and not self._finish():
            return
        self.is_started = True
        self._client.start(status, fields, response.content_length, body, not done)
        if not done:
            self._pass_on()

    def on_piece(self, data: bytes, done: bool) -> None:
        self.counted.response_bytes += len(data)
        if done and not self._finish():
            return
        self._client.write(data, not done)
        if not done:
            self._pass_on()

    @property
    def was_stale(self) -> bool:
        """Whether nothing came back over a connection that was kept: most likely it had died while idle."""
        return self.connection.uses > 1 and not self.connection.received_any

    def on_failed(self, reason: Problem) -> None:
        if self.repeat is not None and self.was_stale:
            self._is_over = True
            self.repeat(self)
        else:
            self._give_up(reason)

    def on_upstream_full(self, full: bool) -> None:
        if full:
            self._client.pause()
        else:
            self._client.resume()

    def _pass_on(self) -> None:
        # The sweeper sets the time: asking the clock for each piece of a large answer would be waste.
        self._deadline_s = 0.0
        if self._client.is_full:
            self.connection.pause_reading()

    def _finish(self) -> bool:
        """The answer is whole: its event comes before its last byte."""
        self._is_over = True
        if self._record(self.counted, self.status, ANSWERED):
            self._ended(self, None)
            return True
        self._ended(self, problems.METERING_UNAVAILABLE)
        return False

    # The consumer's side

    def on_client_full(self, full: bool) -> None:
        if self._is_over:
            # The connection serves somebody else by now.
            return
        if full:
            self.connection.pause_reading()
        else:
            self._deadline_s = 0.0
            self.connection.resume_reading()

    def on_client_gone(self) -> None:
        self.fail(problems.CLIENT_CLOSED)

    # Ends

    def sweep(self, now_s: float) -> None:
        """Fail the exchange when it is past its deadline. A consumer who takes nothing isn't the upstream's
        silence, and has a bound of its own."""
        if self._deadline_s == 0.0 or self._client.is_full:
            self._deadline_s = now_s + self._timeouts.idle_s
        if now_s > self._deadline_s:
            self.fail(problems.UPSTREAM_TIMEOUT)
        elif now_s > self._ends_at_s:
            self.fail(TOTAL_TIME_OVER if self.is_started else problems.UPSTREAM_TIMEOUT)

    def fail(self, reason: Problem) -> None:
        """End the exchange and its connection; the first reason stands."""
        if not self._is_over:
            self.connection.abort()
            self._give_up(reason)

    def _give_up(self, reason: Problem) -> None:
        """What the consumer has got already decides how the call is metered."""
        self._is_over = True
        self._record(self.counted, *outcome_of(reason, self.status if self.is_started else 0))
        self._ended(self, reason)
