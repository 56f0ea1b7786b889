"""Who may have one more call under way: in all, of one merchant's, and at an origin, with each consumer's
fair share of it and its circuit breaker. Pure: no I/O, no clock."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from ams_gateway.http.targets import Origin
from ams_gateway.upstream.breaker import CircuitBreaker

DEFAULT_MAX_CONNECTIONS = 1000


class RefusalReason(Enum):
    # There are as many calls under way as there may be, or the merchant or consumer has as many as it should.
    BUSY = auto()
    # The origin has been failing.
    FAILING = auto()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call isn't made, and when it is worth while to ask again."""

    reason: RefusalReason
    retry_after_s: int


_BUSY = Refusal(RefusalReason.BUSY, 1)


class Outcome(Enum):
    """What a call says of its origin."""

    # Any answer, also one with a status of 5xx.
    ANSWERED = auto()
    # No connection, a reset before an answer, or no first byte in time.
    FAILED = auto()
    # Nothing: the consumer hung up, or the gateway itself gave up.
    UNKNOWN = auto()


def may_add_call(held: int, under_way: int, max_connections: int) -> bool:
    """Whether a consumer that holds `held` of an origin's `under_way` calls may have one more, or a merchant
    whose services hold so many of all.

    It may while it holds fewer than are free. This is the dynamic threshold of shared buffers (Choudhury and
    Hahne, 1998): alone a consumer gets half, and two get a third each, so that one share always stays free
    for whoever comes next; who came first and took more gets nothing new until it is down to what the others
    may have. A fixed share would waste most of the cap when few call, and need a guess at how many will.
    """
    return held < max_connections - under_way


class OriginCalls:
    """What is under way at one origin."""

    __slots__ = ("breaker", "by_consumer", "under_way")

    def __init__(self, breaker: CircuitBreaker) -> None:
        self.breaker = breaker
        self.under_way = 0
        self.by_consumer: dict[str, int] = {}

    def acquire(self, consumer_id: str, max_connections: int, now_s: float) -> Refusal | None:
        held = self.by_consumer.get(consumer_id, 0)
        # Before the breaker is asked, for that may make this call the one that probes.
        if not may_add_call(held, self.under_way, max_connections or DEFAULT_MAX_CONNECTIONS):
            return _BUSY
        if not self.breaker.is_closed and not self.breaker.admits(now_s):
            return Refusal(RefusalReason.FAILING, self.breaker.retry_after_s(now_s))
        self.under_way += 1
        self.by_consumer[consumer_id] = held + 1
        return None

    def note_answer(self, admitted_at_s: float) -> None:
        """A call that goes on is being answered. If it is the breaker's probe nobody waits for its end: where
        only WebSockets are called, one a minute would be let in until then."""
        if not self.breaker.is_closed:
            self.breaker.succeeded(admitted_at_s)

    def release(self, consumer_id: str, outcome: Outcome, *, admitted_at_s: float, now_s: float) -> None:
        """Count a call out. `admitted_at_s`: the `now_s` with which it was counted in."""
        self.under_way -= 1
        held = self.by_consumer[consumer_id] - 1
        if held:
            self.by_consumer[consumer_id] = held
        else:
            del self.by_consumer[consumer_id]
        if outcome is Outcome.ANSWERED:
            self.breaker.succeeded(admitted_at_s)
        elif outcome is Outcome.FAILED:
            self.breaker.failed(now_s, admitted_at_s)
        else:
            self.breaker.abandoned(admitted_at_s)


class Admission:
    """Each call that `acquire` admits is given back with `release` once, whatever became of it. A call counts
    alike on a new and on a kept connection, so an origin never has more connections than its cap.

    `max_calls`: of all merchants together. Whose services lie at many origins has no more than its share."""

    def __init__(self, max_calls: int, make_breaker: Callable[[], CircuitBreaker] = CircuitBreaker) -> None:
        self._max_calls = max_calls
        self._make_breaker = make_breaker
        self._origins: dict[Origin, OriginCalls] = {}
        self._under_way = 0
        self._by_merchant: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._origins)

    def acquire(
        self, origin: Origin, merchant_id: str, consumer_id: str, max_connections: int, now_s: float
    ) -> OriginCalls | Refusal:
        """Count one more call in, and return where it is counted; or say why not.

        `max_connections`: of the service that is called, 0 for the default. Services that share an origin
        share what is counted.
        """
        held = self._by_merchant.get(merchant_id, 0)
        if not may_add_call(held, self._under_way, self._max_calls):
            return _BUSY
        calls = self._origins.get(origin)
        if calls is None:
            calls = self._origins[origin] = OriginCalls(self._make_breaker())
        refusal = calls.acquire(consumer_id, max_connections, now_s)
        if refusal is not None:
            return refusal
        self._under_way += 1
        self._by_merchant[merchant_id] = held + 1
        return calls

    def release(
        self,
        calls: OriginCalls,
        merchant_id: str,
        consumer_id: str,
        outcome: Outcome,
        *,
        admitted_at_s: float,
        now_s: float,
    ) -> None:
        """Count a call out where it is counted. `admitted_at_s`: the `now_s` with which it was counted in."""
        calls.release(consumer_id, outcome, admitted_at_s=admitted_at_s, now_s=now_s)
        self._under_way -= 1
        held = self._by_merchant[merchant_id] - 1
        if held:
            self._by_merchant[merchant_id] = held
        else:
            del self._by_merchant[merchant_id]

    def forget_unused(self, now_s: float) -> None:
        """Drop origins with nothing under way and nothing to remember, or the table would grow with every
        origin that was ever called. Called now and then, not with each call."""
        for origin, calls in list(self._origins.items()):
            if not calls.under_way and calls.breaker.is_forgettable(now_s):
                del self._origins[origin]
