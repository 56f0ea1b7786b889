"""A WebSocket on its way through a merchant's API: a call until the upstream has accepted the handshake, then
a tunnel whose bytes pass unchanged both ways and are counted by their frames."""

import time

from ams.usage.v1.events_pb2 import ANSWERED

from ams_gateway.http import problems
from ams_gateway.http.problems import Problem
from ams_gateway.http.responses import Response
from ams_gateway.http.websocket import FrameCounter, is_opened_by
from ams_gateway.upstream.exchange import Exchange


class Tunnel(Exchange):
    """An upstream that doesn't switch protocols answers like any other. Once the tunnel is open, either side
    ends it for both, and so does silence of both for `idle_s`. However it ends, it is metered as answered: a
    WebSocket has no length by which an end would be too early.
    """

    _wants_tunnel = True
    _is_open = False
    _sent: FrameCounter
    _received: FrameCounter

    def upload(self, data: bytes, done: bool, now_s: float) -> None:
        """Bytes of the consumer's frames. A consumer that is `done` has gone, and says so otherwise."""
        if self._is_over:
            return
        sent, counted = self._sent, self.counted
        sent.feed(data)
        counted.request_bytes, counted.request_messages = sent.payload_bytes, sent.messages
        if sent.is_invalid:
            # What followed couldn't be counted, and would pass for nothing.
            self.fail(problems.FRAMING_INVALID)
            return
        self._deadline_s = 0.0
        self.connection.write(data)

    def on_answer(self, response: Response, body: bytes, done: bool) -> None:
        if response.status != 101:
            super().on_answer(response, body, done)
            return
        self._sent, self._received = FrameCounter(), FrameCounter()
        self._count_received(body)
        key = self.counted.websocket_key
        if key is None or not is_opened_by(response, key) or self._received.is_invalid:
            self.counted.response_bytes = self.counted.response_messages = 0
            self.fail(problems.UPSTREAM_FAILED)
            return
        self.status = 101
        self._is_open = self.is_started = True
        self._client.start(101, self._compose(response), None, body, True)
        # The consumer's first frames may have come with its handshake, and have ended it.
        if not self._is_over:
            self._pass_on()

    def on_piece(self, data: bytes, done: bool) -> None:
        if not self._is_open:
            super().on_piece(data, done)
            return
        self._count_received(data)
        if self._received.is_invalid:
            self.fail(problems.UPSTREAM_FAILED)
            return
        if done and not self._finish():
            return
        self._client.write(data, not done)
        if not done:
            self._pass_on()

    def on_failed(self, reason: Problem) -> None:
        if self._is_open:
            # Many servers reset a connection that both sides have closed by their frames.
            self.on_piece(b"", True)
        else:
            super().on_failed(reason)

    def on_client_gone(self) -> None:
        if not self._is_open:
            super().on_client_gone()
        elif not self._is_over:
            # Its last frames, a Close most often, are still the upstream's.
            self.connection.close(time.monotonic())
            self._finish()

    def fail(self, reason: Problem) -> None:
        if not self._is_open:
            super().fail(reason)
        elif not self._is_over:
            self._is_over = True
            self.connection.close(time.monotonic())
            self._record(self.counted, self.status, ANSWERED)
            self._ended(self, reason)

    def _count_received(self, data: bytes) -> None:
        received, counted = self._received, self.counted
        received.feed(data)
        counted.response_bytes, counted.response_messages = received.payload_bytes, received.messages
