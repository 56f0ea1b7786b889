"""One admitted request on its way through a merchant's API, from hand-over to its event."""

import asyncio
import contextlib
import logging
from typing import Protocol

from ams.usage.v1 import events_pb2 as usage

from ams_gateway.access.snapshots import CachedKey, CachedService
from ams_gateway.http import problems
from ams_gateway.http.problems import Header, Problem
from ams_gateway.metering.journal import JournalError
from ams_gateway.metering.meter import Meter, Usage
from ams_gateway.upstream.connection import NEVER_S, UpstreamConnection

log = logging.getLogger(__name__)


class ClientGoneError(Exception):
    """The consumer closed the connection."""


class Client(Protocol):
    """The consumer's side, as an entry presents it."""

    async def read(self) -> tuple[bytes, bool]:
        """The next piece of the body, and whether there is more. Raises ClientGoneError."""

    async def start(self, status: int, headers: list[Header], data: bytes, more: bool) -> None:
        """Send the status, the headers and the first of the body. Waits and raises as `write` does."""

    async def write(self, data: bytes, more: bool) -> None:
        """Returns when the consumer takes more. Raises ClientGoneError as soon as it is known, so that
        the upstream isn't drained for nobody."""

    def is_gone(self) -> bool:
        """Whether the consumer has hung up. Asked again and again, and never while `read` waits."""


class Exchange:
    """Created when a connection has been chosen. `answer` passes the upstream's answer on; `end` is called
    whatever became of it."""

    __slots__ = (
        "_client",
        "_connection",
        "_is_metered",
        "_is_started",
        "_key",
        "_max_body_bytes",
        "_meter",
        "_service",
        "_task",
        "_usage",
        "answer_headers",
        "timeout_s",
        "uploads",
    )

    def __init__(
        self,
        client: Client,
        connection: UpstreamConnection,
        meter: Meter,
        usage_: Usage,
        key: CachedKey,
        service: CachedService,
    ) -> None:
        self._client = client
        self._connection = connection
        self._meter = meter
        self._usage = usage_
        self._key = key
        self._service = service
        self._max_body_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._is_started = False
        self._is_metered = False
        self.answer_headers: list[Header] = []
        self.timeout_s = NEVER_S
        self.uploads = False

    async def answer(self) -> Problem | None:
        """Wait for the upstream's answer and pass it on. A Problem when there is none to pass on and
        nothing has been sent; the exchange is metered then too."""
        connection = self._connection
        if not connection.headers_done and connection.error is None:
            await connection.wait()
        if connection.error is not None:
            return self._give_up(connection.error)
        headers = connection.headers + self.answer_headers
        status = connection.status
        data, done = connection.read()
        self._usage.response_bytes = len(data)
        if done:
            self.meter(status, usage.ANSWERED)
        self._is_started = True
        await self._client.start(status, headers, data, not done)
        return None if done else await self._stream(status)

    async def _stream(self, status: int) -> Problem | None:
        connection, client = self._connection, self._client
        while True:
            await connection.wait()
            if connection.error is not None:
                return self._give_up(connection.error)
            data, done = connection.read()
            self._usage.response_bytes += len(data)
            if done:
                self.meter(status, usage.ANSWERED)
            if data or done:
                await client.write(data, not done)
            if done:
                return None

    def _give_up(self, reason: Problem) -> Problem:
        """Nothing (more) will come. What the consumer has got already decides how it is metered."""
        if reason.status not in (499, 413):
            self.meter(reason.status if reason.status == 504 else 502, usage.UPSTREAM_FAILED)
        elif self._is_started:
            self.meter(self._connection.status, usage.ANSWERED)
        else:
            self.meter(reason.status, usage.CLIENT_CLOSED)
        return reason

    @property
    def is_started(self) -> bool:
        return self._is_started

    def meter(self, status: int, outcome: usage.Outcome.ValueType) -> None:
        """Write the event unless it has been written. Raises JournalError."""
        if not self._is_metered:
            self._is_metered = True
            self._meter.record(self._usage, self._key, self._service, status, outcome)

    def end(self) -> None:
        """However `answer` ended, also by cancellation: no event of a handed-over request is missing."""
        if self._task is not None:
            self._task.cancel()
        if not self._is_metered:
            # The journal keeps what it could not write, and has said so.
            with contextlib.suppress(JournalError):
                self._give_up(problems.CLIENT_CLOSED)

    # The request's body, when it is more than one piece

    def start_upload(self, max_body_bytes: int) -> None:
        self.uploads = True
        self._max_body_bytes = max_body_bytes
        self._task = asyncio.create_task(self._upload())

    async def _upload(self) -> None:
        """Only what was chunked comes here chunked; the length that was given was checked before."""
        connection = self._connection
        chunked = self._max_body_bytes > 0
        try:
            while True:
                data, more = await self._client.read()
                self._usage.request_bytes += len(data)
                if chunked and self._usage.request_bytes > self._max_body_bytes:
                    connection.fail(problems.BODY_TOO_LARGE)
                    return
                connection.write(frame_chunk(data, last=not more) if chunked else data)
                if not more:
                    connection.request_sent = True
                    self._restart_deadline()
                    self.uploads = False
                    return
                self._restart_deadline()
                await connection.drain()
                if connection.error is not None or connection.is_done:
                    return
        except ClientGoneError:
            connection.fail(problems.CLIENT_CLOSED)

    def _restart_deadline(self) -> None:
        if not self._connection.headers_done:
            self._connection.deadline_s = asyncio.get_running_loop().time() + self.timeout_s

    def sweep(self, now_s: float) -> None:
        """Fail the exchange when it is past its deadline, or its consumer has gone."""
        connection = self._connection
        if now_s > connection.deadline_s:
            connection.fail(
                problems.UPSTREAM_FAILED if connection.headers_done else problems.UPSTREAM_TIMEOUT
            )
        elif not self.uploads and self._client.is_gone():
            connection.fail(problems.CLIENT_CLOSED)


def frame_chunk(data: bytes, *, last: bool) -> bytes:
    """RFC 9112 §7.1. An empty piece must not be written: it would end the body."""
    framed = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
    return framed + b"0\r\n\r\n" if last else framed
