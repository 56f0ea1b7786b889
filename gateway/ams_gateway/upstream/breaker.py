"""A circuit breaker: whether it is worth while to call what has been failing. Pure: no I/O, no clock.

Only what is the other side's failure belongs here: no connection, a reset before an answer, no first byte in
time. Not an answer of 5xx, which is an answer, and not a consumer who hung up.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When a breaker opens, and for how long."""

    consecutive_failures: int = 5
    # Where some calls succeed: opens at this share of failures among the calls of one window.
    window_s: float = 10.0
    min_calls: int = 20
    failure_share: float = 0.5
    # Doubles with each probe that fails.
    open_s: float = 1.0
    max_open_s: float = 30.0
    # A probe that nobody reported on by then is given up, and the next call is one.
    max_probe_s: float = 60.0


class CircuitBreaker:
    """Closed: every call is admitted. Open: none, until its time is over. Then half-open: one call at a time,
    the probe, and its outcome closes or opens it.

    Each call that was admitted is reported by one of `succeeded`, `failed` and `abandoned`, with the time of
    its admission: calls that began before the breaker opened may end long after, and say nothing of how the
    other side is by then.
    """

    __slots__ = (
        "_calls",
        "_consecutive",
        "_failures",
        "_limits",
        "_open_s",
        "_opened_at_s",
        "_probe_at_s",
        "_window_started_at_s",
    )

    def __init__(self, limits: BreakerLimits | None = None) -> None:
        self._limits = limits or BreakerLimits()
        # None: closed.
        self._opened_at_s: float | None = None
        self._open_s = self._limits.open_s
        # When the probe under way was admitted; None without one.
        self._probe_at_s: float | None = None
        self._consecutive = 0
        self._window_started_at_s = -math.inf
        self._calls = 0
        self._failures = 0

    @property
    def is_closed(self) -> bool:
        return self._opened_at_s is None

    def admits(self, now_s: float) -> bool:
        """Whether a call may be made now. When half-open, True makes that call the probe."""
        if self._opened_at_s is None:
            return True
        if now_s < self._opened_at_s + self._open_s:
            return False
        if self._probe_at_s is not None and now_s < self._probe_at_s + self._limits.max_probe_s:
            return False
        self._probe_at_s = now_s
        return True

    def succeeded(self, admitted_at_s: float) -> None:
        """The call that was admitted then got an answer."""
        if self._opened_at_s is None:
            self._consecutive = 0
            self._calls += 1
        elif self._is_probe(admitted_at_s):
            self._close()

    def failed(self, now_s: float, admitted_at_s: float) -> None:
        """The call that was admitted then got no answer, by the other side's fault."""
        if self._opened_at_s is not None:
            if self._is_probe(admitted_at_s):
                self._open(now_s, min(self._open_s * 2, self._limits.max_open_s))
            return
        limits = self._limits
        if now_s > self._window_started_at_s + limits.window_s:
            self._window_started_at_s, self._calls, self._failures = now_s, 0, 0
        self._consecutive += 1
        self._calls += 1
        self._failures += 1
        is_mostly_failing = (
            self._calls >= limits.min_calls and self._failures >= self._calls * limits.failure_share
        )
        if self._consecutive >= limits.consecutive_failures or is_mostly_failing:
            self._open(now_s, limits.open_s)

    def abandoned(self, admitted_at_s: float) -> None:
        """The call that was admitted then says nothing of the other side; the next may be the probe."""
        if self._is_probe(admitted_at_s):
            self._probe_at_s = None

    def retry_after_s(self, now_s: float) -> int:
        """In how many seconds the next call may be admitted; at least 1, as a Retry-After has it."""
        if self._opened_at_s is None:
            return 1
        return max(1, math.ceil(self._opened_at_s + self._open_s - now_s))

    def is_forgettable(self, now_s: float) -> bool:
        """Whether a new breaker would do the same from now on, or nearly: nothing has failed for long."""
        if self._opened_at_s is not None:
            return now_s > self._opened_at_s + self._open_s + self._limits.max_probe_s
        return now_s > self._window_started_at_s + self._limits.window_s

    def _is_probe(self, admitted_at_s: float) -> bool:
        # Whoever was admitted when the probe was, or after it, was admitted half-open.
        return self._probe_at_s is not None and admitted_at_s >= self._probe_at_s

    def _open(self, now_s: float, open_s: float) -> None:
        self._opened_at_s, self._open_s = now_s, open_s
        self._probe_at_s = None

    def _close(self) -> None:
        self._opened_at_s = self._probe_at_s = None
        self._open_s = self._limits.open_s
        self._window_started_at_s = -math.inf
        self._consecutive = self._calls = self._failures = 0
