"""Authorize, limit, forward, meter. Knows neither ASGI nor any server: the entries bring requests in."""

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass

from ams_gateway.access.authorizer import Grant, RequestAuthorizer
from ams_gateway.http import problems
from ams_gateway.http.headers import VIA, Request
from ams_gateway.http.problems import Header, Problem, render
from ams_gateway.http.targets import Target
from ams_gateway.metering.journal import Journal, JournalError
from ams_gateway.metering.meter import EventIds, Meter, Usage, format_uuid
from ams_gateway.upstream.connection import UpstreamConnection
from ams_gateway.upstream.exchange import Client, ClientGoneError, Exchange, frame_chunk
from ams_gateway.upstream.pool import BusyError, Pool, UnreachableError

log = logging.getLogger(__name__)

# May be repeated when a connection turns out dead before any byte came back (RFC 9110 §9.2.2).
_IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS"))


@dataclass(frozen=True, slots=True)
class CoreLimits:
    max_body_bytes: int = 100 * 1024 * 1024
    upstream_timeout_s: float = 30.0


class Gateway:
    def __init__(
        self,
        authorizer: RequestAuthorizer,
        pool: Pool,
        journal: Journal,
        limits: CoreLimits,
    ) -> None:
        self._authorizer = authorizer
        self._pool = pool
        self._journal = journal
        self._limits = limits
        self._ids = EventIds()
        self._meter = Meter(journal)
        self._exchanges: set[Exchange] = set()
        # Answers by code: "200" for what an upstream answered, "key_invalid" for our own.
        self.answers: Counter[str] = Counter()

    @property
    def in_flight(self) -> int:
        return len(self._exchanges)

    def sweep(self, now_s: float) -> None:
        """End what is past its deadline or whose consumer has hung up. The pool calls it on each sweep."""
        for exchange in list(self._exchanges):
            exchange.sweep(now_s)

    async def serve(self, request: Request, client: Client) -> bool:
        """Answer one request. False when the answer was broken off: the connection must go."""
        usage = Usage(self._ids)
        request_id = request.headers.request_id or format_uuid(usage.event_id).encode("ascii")
        limit_headers: list[Header] = []
        try:
            grant = await self._authorizer.authorize(request, limit_headers)
            if isinstance(grant, Problem):
                return await self.send_problem(grant, request_id, client, limit_headers)
            limit_headers.append((b"x-request-id", request_id))
            grant.headers = limit_headers
            failure = await self._forward(request, request_id, usage, grant, client)
        except ClientGoneError:
            self.answers["client_closed"] += 1
            return False
        if failure is None:
            return True
        problem, is_started = failure
        if is_started or problem is problems.CLIENT_CLOSED:
            self.answers[f"{problem.code}_midway" if is_started else problem.code] += 1
            return False
        return await self.send_problem(problem, request_id, client, limit_headers[:-1])

    async def send_problem(
        self, problem: Problem, request_id: bytes, client: Client, more: list[Header] | None = None
    ) -> bool:
        self.answers[problem.code] += 1
        headers, body = render(problem, request_id.decode("ascii"), tuple(more or ()))
        try:
            await client.start(problem.status, headers, body, False)
        except ClientGoneError:
            return False
        return True

    def new_request_id(self) -> bytes:
        return format_uuid(self._ids.new(time.time_ns() // 1_000_000)).encode("ascii")

    # Forward and meter

    async def _forward(
        self, request: Request, request_id: bytes, usage: Usage, grant: Grant, client: Client
    ) -> tuple[Problem, bool] | None:
        """None when the answer was passed on; else why not, and whether it had begun."""
        data, more = await client.read() if request.headers.has_body else (b"", False)
        usage.request_bytes = len(data)
        if usage.request_bytes > self._limits.max_body_bytes:
            return problems.BODY_TOO_LARGE, False
        payload = self._write_headers(request, request_id, usage, grant.target, more, len(data))
        chunked = more and request.headers.content_length is None
        payload += frame_chunk(data, last=False) if chunked else data
        repeatable = not more and request.method in _IDEMPOTENT
        while True:
            connection = await self._choose(grant)
            if isinstance(connection, Problem):
                return connection, False
            is_reused = connection.uses > 0
            exchange = self._hand_over(request, payload, more, usage, grant, connection, client)
            if more:
                exchange.start_upload(self._limits.max_body_bytes if chunked else 0)
            if repeatable and is_reused:
                if not connection.headers_done and connection.error is None:
                    await self._first_sign(connection, exchange)
                if connection.error is problems.UPSTREAM_FAILED and not connection.received_any:
                    # The idle connection had died; the merchant has not seen the request.
                    self._exchanges.discard(exchange)
                    continue
            return await self._finish(grant, connection, exchange)

    async def _first_sign(self, connection: UpstreamConnection, exchange: Exchange) -> None:
        try:
            await connection.wait()
        except asyncio.CancelledError:
            self._exchanges.discard(exchange)
            exchange.end()
            connection.abort()
            raise

    async def _choose(self, grant: Grant) -> UpstreamConnection | Problem:
        origin = grant.target.origin
        connection = self._pool.reuse(origin)
        if connection is not None:
            return connection
        try:
            return await self._pool.connect(origin, grant.addresses)
        except UnreachableError:
            return problems.UPSTREAM_UNREACHABLE
        except BusyError:
            return problems.GATEWAY_BUSY

    def _hand_over(
        self,
        request: Request,
        payload: bytes,
        more: bool,
        usage: Usage,
        grant: Grant,
        connection: UpstreamConnection,
        client: Client,
    ) -> Exchange:
        exchange = Exchange(client, connection, self._meter, usage, grant.key, grant.service)
        exchange.answer_headers = grant.headers
        exchange.timeout_s = grant.service.upstream_timeout_s or self._limits.upstream_timeout_s
        self._exchanges.add(exchange)
        is_head = request.method == "HEAD"
        connection.send_request(payload, is_head=is_head, is_whole=not more, timeout_s=exchange.timeout_s)
        return exchange

    async def _finish(
        self, grant: Grant, connection: UpstreamConnection, exchange: Exchange
    ) -> tuple[Problem, bool] | None:
        try:
            problem = await exchange.answer()
        except JournalError:
            problem = problems.METERING_UNAVAILABLE
        finally:
            self._exchanges.discard(exchange)
            try:
                exchange.end()
            finally:
                self._pool.release(grant.target.origin, connection)
        if problem is not None:
            return problem, exchange.is_started
        self.answers[str(connection.status)] += 1
        return None

    def _write_headers(
        self, request: Request, request_id: bytes, usage: Usage, target: Target, more: bool, size: int
    ) -> bytes:
        """The head as the merchant gets it: our own framing, identity and trace, never the key."""
        headers = request.headers
        if more and headers.content_length is None:
            framing = b"transfer-encoding: chunked\r\n"
        elif more:
            framing = b"content-length: %d\r\n" % (headers.content_length or 0)
        elif headers.has_body or request.method in ("POST", "PUT", "PATCH"):
            framing = b"content-length: %d\r\n" % size
        else:
            framing = b""
        trace = headers.trace
        if trace is None:
            # A new trace with the event's id; its second half, which is never zero, is the span's.
            trace_id = usage.event_id.hex().encode("ascii")
            trace = b"00-%b-%b-00" % (trace_id, trace_id[16:])
        via = VIA if headers.via is None else headers.via + b", " + VIA
        return b"%b %b HTTP/1.1\r\nhost: %b\r\n%bvia: %b\r\nx-request-id: %b\r\ntraceparent: %b\r\n%b\r\n" % (
            request.method.encode("ascii"),
            target.request_target(request.path, request.query),
            target.authority,
            b"".join(headers.lines),
            via,
            request_id,
            trace,
            framing,
        )
