"""Authorize, limit, forward, meter. Knows neither ASGI nor any server: the entries bring requests in.

`serve` answers a request at once where nothing has to be waited for: snapshots and a lease held, a connection
idle, the body whole. Then no task, future or coroutine is made for it. Where something has to be waited for,
the same steps are taken in `_serve_waiting`.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from ams.usage.v1.events_pb2 import ANSWERED
from ams.usage.v1.events_pb2 import Outcome as UsageOutcome
from ams_common.sealing import Sealer

from ams_gateway.access.authorizer import Authorizer
from ams_gateway.access.limits.limiter import Limiter
from ams_gateway.access.snapshot_cache import SourceDownError
from ams_gateway.access.snapshots import CachedService, Grant
from ams_gateway.call import Call, Caller, ClientGoneError, Refused, cors_fields
from ams_gateway.http import problems
from ams_gateway.http.dates import http_date
from ams_gateway.http.problems import Problem, render
from ams_gateway.http.requests import Request, read_page
from ams_gateway.http.websocket import UPGRADE_FIELDS, handshake_key
from ams_gateway.long_calls import LongCalls
from ams_gateway.metering.journal import Journal
from ams_gateway.metering.meter import EventIds, Meter, Usage
from ams_gateway.terms import Credentials, Terms
from ams_gateway.upstream.admission import Admission, Outcome, Refusal, RefusalReason
from ams_gateway.upstream.connection import UpstreamConnection
from ams_gateway.upstream.exchange import Client, Exchange, Timeouts
from ams_gateway.upstream.outcomes import UPSTREAM_FAULTS, is_free, outcome_of
from ams_gateway.upstream.pool import BusyError, Pool, UnreachableError
from ams_gateway.upstream.resolver import AddressForbiddenError, AddressUnknownError, Resolver
from ams_gateway.upstream.synced_client import AfterSync, SyncedClient
from ams_gateway.upstream.tunnel import Tunnel

log = logging.getLogger(__name__)

# May be repeated when a connection turns out dead before any byte came back (RFC 9110 §9.2.2).
_IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS"))

_MAX_CREDENTIALS = 20_000
_FORGET_EVERY_S = 10.0
_LIMIT_PROBLEMS: dict[str | None, Problem] = {
    "minute": problems.RATE_LIMITED,
    "day": problems.QUOTA_EXCEEDED,
    "month": problems.QUOTA_EXCEEDED,
    "spend": problems.SPEND_CAP_REACHED,
}

_REFUSALS = {
    RefusalReason.BUSY: problems.GATEWAY_BUSY,
    RefusalReason.FAILING: problems.UPSTREAM_FAILING,
}
# What says that an upstream doesn't work.
_FAILURES = (problems.UPSTREAM_UNREACHABLE, *UPSTREAM_FAULTS)


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    max_body_bytes: int
    timeouts: Timeouts
    # To one origin, where its service's merchant sets none.
    max_connections: int
    # Under way, of all merchants together.
    max_calls: int
    # How often a call that is being answered reports what it has used.
    report_every_s: float


class Gateway:
    def __init__(
        self,
        authorizer: Authorizer,
        limiter: Limiter,
        resolver: Resolver,
        pool: Pool,
        journal: Journal,
        sealer: Sealer,
        limits: GatewayLimits,
        after_sync: AfterSync | None = None,
    ) -> None:
        """`after_sync`: what answers' ends wait for; None: for nothing."""
        self._authorizer = authorizer
        self._limiter = limiter
        self._resolver = resolver
        self._admission = Admission(limits.max_calls)
        self._pool = pool
        self._journal = journal
        self._limits = limits
        self._sealer = sealer
        self._after_sync = after_sync
        self._credentials: dict[str, tuple[CachedService, Credentials]] = {}
        self._ids = EventIds()
        self._meter = Meter(journal)
        self._exchanges: set[Exchange] = set()
        self._long_calls = LongCalls(authorizer, limits.report_every_s)
        self._waiting: set[asyncio.Task[None]] = set()
        self._clock = asyncio.get_running_loop().time
        self._forgot_at_s = 0.0
        # Made once: a bound method for each request would be waste.
        self._on_ended = self._end
        # Answers by status for what an upstream answered, by code for our own problems.
        self.answers: Counter[int | str] = Counter()

    @property
    def in_flight(self) -> int:
        return len(self._exchanges)

    def sweep(self, now_s: float) -> None:
        """End what is past its deadline, and look at what goes on."""
        for exchange in list(self._exchanges):
            exchange.sweep(now_s)
        self._long_calls.sweep(self._exchanges, now_s)
        if now_s - self._forgot_at_s > _FORGET_EVERY_S:
            self._forgot_at_s = now_s
            self._admission.forget_unused(now_s)

    def close(self) -> None:
        """End what is still under way, so that it is metered."""
        for exchange in list(self._exchanges):
            exchange.fail(problems.GATEWAY_STOPPING)

    def serve(self, request: Request, client: Caller, body: bytes, is_whole: bool) -> None:
        """Answer one request, now or later. `body` is what has come of its body, `is_whole` whether that is
        all of it."""
        call = Call(self._ids, request, client)
        try:
            # What a page is let read depends on a service that even a refused call has named.
            if is_whole and request.origin is None and self._serve_at_once(call, body):
                return
        except Exception:
            log.exception("a call failed")
            self._refuse(call, problems.INTERNAL)
            return
        self._spawn(self._serve_waiting(call, body, is_whole), call)

    def _serve_at_once(self, call: Call, body: bytes) -> bool:
        """False when something has to be waited for; what was done so far stands in the call."""
        request = call.request
        grant = request.problem or self._authorizer.decide(request)
        if grant is None:
            return False
        if isinstance(grant, Problem):
            self._refuse(call, grant)
            return True
        terms = call.terms = grant.terms or self._terms(grant)
        if self._resolver.cached(terms.target.origin.host, terms.service.merchant_id) is None:
            return False
        problem = self._check(call)
        if problem is None:
            if terms.bucket is not None:
                call.allowance = terms.bucket.take()
                if call.allowance is None:
                    return False
                if not call.allowance.allowed:
                    problem = _LIMIT_PROBLEMS[call.allowance.bound]
            problem = problem or self._admit(call)
        if problem is not None:
            self._refuse(call, problem)
            return True
        connection = self._pool.reuse(terms.target.origin)
        if connection is None:
            return False
        self._forward(call, connection, body)
        return True

    async def _serve_waiting(self, call: Call, body: bytes, is_whole: bool) -> None:
        """The same steps, each waiting for what it needs."""
        request, client = call.request, call.client
        if request.origin is not None:
            # A page can read why it was refused only where the service lets it.
            call.service = await self._authorizer.find_service(request)
            if request.is_preflight:
                self._answer_preflight(call)
                return
        grant = request.problem or await self._authorizer.find_and_decide(request)
        if isinstance(grant, Problem):
            self._refuse(call, grant)
            return
        terms = call.terms = self._terms(grant)
        addresses = await self._addresses(terms)
        if isinstance(addresses, Problem):
            self._refuse(call, addresses)
            return
        problem = self._check(call)
        if problem is None:
            if terms.bucket is not None and call.allowance is None:
                call.allowance = await terms.bucket.acquire()
            problem = self._limit(call) or self._admit(call)
        if problem is not None:
            self._refuse(call, problem)
            return
        if not is_whole and not body:
            body, is_whole = await client.first_piece()
        connection = await self._connect(call, addresses)
        if isinstance(connection, Problem):
            self._refuse(call, connection)
            return
        if not is_whole:
            piece, is_whole = client.take()
            body += piece
        if client.is_gone or len(body) > self._limits.max_body_bytes:
            self._pool.release(terms.target.origin, connection)
            if client.is_gone:
                raise ClientGoneError
            self._refuse(call, problems.BODY_TOO_LARGE)
        elif is_whole:
            self._forward(call, connection, body)
        else:
            self._forward_upload(call, connection, body)

    # Its steps

    def _terms(self, grant: Grant) -> Terms:
        if grant.terms is None:
            grant.terms = Terms(
                grant,
                self._meter,
                self._limiter,
                self._credentials_of(grant.service),
                self._limits.timeouts,
                self._limits.max_connections,
            )
        terms: Terms = grant.terms
        return terms

    def _credentials_of(self, service: CachedService) -> Credentials:
        """Unsealed once for a service, whoever calls it."""
        held = self._credentials.get(service.service_id)
        if held is None or held[0] is not service:
            if len(self._credentials) >= _MAX_CREDENTIALS:
                self._credentials.clear()
            held = self._credentials[service.service_id] = service, Credentials(service, self._sealer)
        return held[1]

    def _answer_preflight(self, call: Call) -> None:
        """By the service's setting, and for anybody: a preflight carries no key. It is forwarded nowhere."""
        request, cors = call.request, call.service.cors if call.service is not None else None
        fields = None
        if cors is not None and request.origin is not None and request.preflight_method is not None:
            fields = cors.preflight(request.origin, request.preflight_method, request.preflight_headers)
        if fields is None:
            self._refuse(call, problems.CORS_DENIED)
            return
        self.answers["preflight"] += 1
        lines = [*fields, (b"date", http_date()), (b"x-request-id", call.request_id or call.id_text)]
        call.client.start(204, b"".join(b"%b: %b\r\n" % line for line in lines), None, b"", False)

    def _limit(self, call: Call) -> Problem | None:
        allowance = call.allowance
        return None if allowance is None or allowance.allowed else _LIMIT_PROBLEMS[allowance.bound]

    def _admit(self, call: Call) -> Problem | None:
        """Count the call in, within its merchant's share, the origin's cap and the consumer's share of it."""
        if call.under_way is not None:
            return None
        terms, now_s = call.terms, self._clock()
        admitted = self._admission.acquire(
            terms.target.origin,
            terms.service.merchant_id,
            terms.key.consumer_id,
            terms.max_connections,
            now_s,
        )
        if isinstance(admitted, Refusal):
            call.retry_after_s = admitted.retry_after_s
            return _REFUSALS[admitted.reason]
        call.under_way, call.admitted_at_s = admitted, now_s
        return None

    def _count_out(self, call: Call, outcome: Outcome) -> None:
        if call.under_way is not None:
            self._admission.release(
                call.under_way,
                call.terms.service.merchant_id,
                call.terms.key.consumer_id,
                outcome,
                admitted_at_s=call.admitted_at_s,
                now_s=self._clock(),
            )
            call.under_way = None

    def _abandon(self, call: Call, problem: Problem) -> None:
        """What wasn't forwarded counts against no limit, and what failed against no spend cap."""
        self._count_out(call, Outcome.FAILED if problem in _FAILURES else Outcome.UNKNOWN)
        allowance = call.allowance
        if allowance is not None and allowance.allowed and not call.is_forwarded:
            assert call.terms.bucket is not None
            call.terms.bucket.refund()
        elif call.is_forwarded:
            self._waive_free(call, *outcome_of(problem, 0))

    def _waive_free(self, call: Call, status: int, outcome: UsageOutcome.ValueType) -> None:
        """What isn't charged mustn't use a spend cap up: neither by the rule, nor for want of an event."""
        allowance = call.allowance
        if allowance is None or not allowance.allowed:
            return
        is_uncounted = call.is_lost and call.recorded is None
        if is_uncounted or is_free(call.terms.service.price.charge_rule, status, outcome):
            assert call.terms.bucket is not None
            call.terms.bucket.waive()

    def _check(self, call: Call) -> Problem | None:
        """What is wrong with the call or with us, before it counts against any limit."""
        if call.terms.credentials.is_sealed:
            # Nobody but the merchant can put that right, and what it lets in must be known to come from AMS.
            return problems.UPSTREAM_MISCONFIGURED
        length = call.request.content_length
        if length is not None and length > self._limits.max_body_bytes:
            return problems.BODY_TOO_LARGE
        if call.request.upgrade is not None:
            # Any other upgrade is ignored, as RFC 9110 §7.8 lets a server do.
            call.websocket_key = handshake_key(call.request)
            if call.websocket_key is not None and not call.terms.service.forwarding.allows_websockets:
                return problems.WEBSOCKET_DENIED
        return None if self._journal.is_accepting() else problems.METERING_UNAVAILABLE

    async def _addresses(self, terms: Terms) -> list[str] | Problem:
        try:
            return await self._resolver.resolve(terms.target.origin.host, terms.service.merchant_id)
        except AddressForbiddenError:
            return problems.UPSTREAM_MISCONFIGURED
        except AddressUnknownError:
            return problems.UPSTREAM_UNREACHABLE

    async def _connect(self, call: Call, addresses: list[str]) -> UpstreamConnection | Problem:
        origin, merchant_id = call.terms.target.origin, call.terms.service.merchant_id
        connection = self._pool.reuse(origin)
        if connection is not None:
            return connection
        try:
            return await self._pool.connect(origin, addresses, merchant_id)
        except UnreachableError:
            return problems.UPSTREAM_UNREACHABLE
        except BusyError:
            call.retry_after_s = 1
            return problems.GATEWAY_BUSY

    def _forward(self, call: Call, connection: UpstreamConnection, body: bytes) -> None:
        """Hand over a request with its whole body."""
        request = call.request
        call.request_bytes = len(body)
        framing = b""
        if call.websocket_key is not None:
            framing = UPGRADE_FIELDS
        elif body or request.content_length is not None or request.method in ("POST", "PUT", "PATCH"):
            framing = b"content-length: %d\r\n" % len(body)
        head = self._head(call, framing)
        exchange = self._exchange(call, connection)
        if request.method in _IDEMPOTENT:
            call.head, call.body = head, body
            exchange.repeat = self._repeat
        exchange.begin(head, body, self._clock(), is_head=request.method == "HEAD")

    def _forward_upload(self, call: Call, connection: UpstreamConnection, piece: bytes) -> None:
        request = call.request
        call.request_bytes = len(piece)
        if request.is_chunked:
            framing = b"transfer-encoding: chunked\r\n"
        else:
            framing = b"content-length: %d\r\n" % (request.content_length or 0)
        head = self._head(call, framing)
        exchange = self._exchange(call, connection)
        exchange.begin_upload(
            head,
            piece,
            self._clock(),
            is_chunked=request.is_chunked,
            max_body_bytes=self._limits.max_body_bytes,
        )

    def _exchange(self, call: Call, connection: UpstreamConnection) -> Exchange:
        terms = call.terms
        call.is_forwarded = True
        kind = Exchange if call.websocket_key is None else Tunnel
        client: Client = call.client
        if self._after_sync is not None:
            client = SyncedClient(client, self._after_sync)
        exchange = kind(client, connection, call, terms.record, call.compose, terms.timeouts, self._on_ended)
        self._exchanges.add(exchange)
        call.client.attach(exchange)
        return exchange

    def _head(self, call: Call, framing: bytes) -> bytes:
        """The head as the merchant gets it: our own framing, identity and trace, never the key."""
        request, terms = call.request, call.terms
        trace = request.trace
        if trace is None:
            # A new trace with the event's id; its second half, which is never zero, is the span's.
            trace_id = call.event_id.hex().encode("ascii")
            trace = b"00-%b-%b-00" % (trace_id, trace_id[16:])
        request_id = call.request_id or call.id_text
        own = b"x-request-id: %b\r\ntraceparent: %b\r\n%b" % (request_id, trace, framing)
        if terms.credentials.signer is not None:
            own = terms.signature_of(request, request_id) + own
        return terms.head_of(request, own)

    # Ends

    def _end(self, exchange: Exchange, problem: Problem | None) -> None:
        self._exchanges.discard(exchange)
        call: Call = exchange.counted  # type: ignore[assignment]
        self._pool.release(call.terms.target.origin, exchange.connection)
        if problem is None:
            self.answers[exchange.status] += 1
            self._count_out(call, Outcome.ANSWERED)
            if exchange.status >= 400:
                self._waive_free(call, exchange.status, ANSWERED)
        elif exchange.is_started:
            self.answers[f"{problem.code}_midway"] += 1
            self._count_out(call, Outcome.ANSWERED)
            self._waive_free(call, *outcome_of(problem, exchange.status))
            call.client.cut()
        elif problem is problems.CLIENT_CLOSED:
            self.answers[problem.code] += 1
            self._abandon(call, problem)
        else:
            if problem is problems.UPSTREAM_FAILED and exchange.was_stale:
                # An upstream that closes its idle connections works: the circuit stays closed.
                self._count_out(call, Outcome.UNKNOWN)
            self._refuse(call, problem)

    def _repeat(self, exchange: Exchange) -> None:
        """The idle connection had died, and the merchant hasn't seen the request: it goes over another."""
        self._exchanges.discard(exchange)
        call: Call = exchange.counted  # type: ignore[assignment]
        call.is_forwarded = False
        self._spawn(self._forward_again(call), call)

    async def _forward_again(self, call: Call) -> None:
        addresses = await self._addresses(call.terms)
        connection = addresses if isinstance(addresses, Problem) else await self._connect(call, addresses)
        if isinstance(connection, Problem):
            self._refuse(call, connection)
        elif call.client.is_gone:
            self._pool.release(call.terms.target.origin, connection)
            raise ClientGoneError
        else:
            self._forward(call, connection, call.body)

    def _refuse(self, call: Call, problem: Problem) -> None:
        self._abandon(call, problem)
        fields = call.limit_fields
        if call.retry_after_s:
            fields += b"retry-after: %d\r\n" % call.retry_after_s
        if call.service is not None:
            fields += cors_fields(call.service, call.request)
        self.refuse(problem, call.client, call.request_id or call.id_text, fields)

    def refuse_unread(self, problem: Problem, client: Refused, head: bytes) -> None:
        """Answer what an entry can't read on. `head`: what there is of it. A page can read why, as with any
        other refusal; it comes after a preflight, so that the service is at hand."""
        request = read_page(head)
        service = self._authorizer.held_service(request) if request.origin is not None else None
        self.refuse(problem, client, more=cors_fields(service, request) if service is not None else b"")

    def refuse(
        self, problem: Problem, client: Refused, request_id: bytes | None = None, more: bytes = b""
    ) -> None:
        """Answer with a problem."""
        self.answers[problem.code] += 1
        if request_id is None:
            request_id = Usage(self._ids).id_text
        fields, body = render(problem, request_id, b"date: %b\r\n%b" % (http_date(), more))
        if problem.closes:
            client.close_after()
        client.start(problem.status, fields, len(body), body, False)

    # Waiting

    def _spawn(self, work: Coroutine[Any, Any, None], call: Call) -> None:
        task = asyncio.get_running_loop().create_task(self._guard(work, call))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _guard(self, work: Coroutine[Any, Any, None], call: Call) -> None:
        try:
            await work
        except ClientGoneError:
            self.answers["client_closed"] += 1
            self._abandon(call, problems.CLIENT_CLOSED)
        except SourceDownError:
            self._refuse(call, problems.VALIDATION_UNAVAILABLE)
        except Exception:
            log.exception("a call failed")
            self._refuse(call, problems.INTERNAL)
