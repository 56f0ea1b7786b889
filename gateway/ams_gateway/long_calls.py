"""Calls that last: what they use is reported as it flows, and they end when the right to them does.

Both begin with the answer. Until then a call is bounded by the time to its first byte, and a kill loses
nothing of it that anybody has got.
"""

import asyncio
from collections.abc import Iterable

from ams_gateway.access.authorizer import Authorizer
from ams_gateway.access.snapshot_cache import SourceDownError
from ams_gateway.access.snapshots import Grant
from ams_gateway.http import problems
from ams_gateway.http.problems import Problem
from ams_gateway.http.requests import Request
from ams_gateway.metering.meter import Usage
from ams_gateway.terms import Terms
from ams_gateway.upstream.admission import OriginCalls
from ams_gateway.upstream.exchange import Exchange

# A call is looked at after so long, and then as often. By its own time: those that began at different
# moments don't hold the loop up together.
LOOK_EVERY_S = 1.0


class LongCall(Usage):
    """What is looked at of a call."""

    request: Request
    terms: Terms
    # Where it is counted while it is under way.
    under_way: OriginCalls | None = None
    # By the loop's clock: since when that is, when it is looked at next, and when it last reported.
    admitted_at_s = 0.0
    look_at_s = reported_at_s = 0.0
    # Of a request that opens a WebSocket.
    websocket_key: bytes | None = None


class LongCalls:
    def __init__(self, authorizer: Authorizer, report_every_s: float) -> None:
        self._authorizer = authorizer
        self._report_every_s = report_every_s
        self._asking: dict[Exchange, asyncio.Task[None]] = {}

    def sweep(self, exchanges: Iterable[Exchange], now_s: float) -> None:
        """Look at those of the calls under way that are due. None of them may be over."""
        for exchange in list(exchanges):
            call: LongCall = exchange.counted  # type: ignore[assignment]
            if not exchange.is_started or now_s < (call.look_at_s or call.admitted_at_s + LOOK_EVERY_S):
                continue
            call.look_at_s = now_s + LOOK_EVERY_S
            if call.under_way is not None:
                call.under_way.note_answer(call.admitted_at_s)
            # First, for the check may end the call, and with it comes its last report.
            if now_s - (call.reported_at_s or call.admitted_at_s) >= self._report_every_s:
                call.reported_at_s = now_s
                if not call.terms.record_part(call, exchange.status):
                    exchange.fail(problems.METERING_UNAVAILABLE)
                    continue
            self._check(exchange, call)

    def _check(self, exchange: Exchange, call: LongCall) -> None:
        decision = self._authorizer.decide(call.request)
        if decision is not None:
            _apply(exchange, call, decision)
        elif exchange not in self._asking:
            # An invalidation has dropped what was held.
            asking = asyncio.get_running_loop().create_task(self._ask(exchange, call))
            self._asking[exchange] = asking
            asking.add_done_callback(lambda _: self._asking.pop(exchange))

    async def _ask(self, exchange: Exchange, call: LongCall) -> None:
        try:
            decision = await self._authorizer.find_and_decide(call.request)
        except SourceDownError:
            # That nobody knows ends no stream: it is asked again in a second.
            return
        _apply(exchange, call, decision)


def _apply(exchange: Exchange, call: LongCall, decision: Grant | Problem) -> None:
    if isinstance(decision, Problem):
        exchange.fail(decision)
    elif call.websocket_key is not None and not decision.service.forwarding.allows_websockets:
        exchange.fail(problems.WEBSOCKET_DENIED)
