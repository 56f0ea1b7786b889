"""The rule by which workers lease slices of a limit: pure, and the twin of lease.lua.

**The sliding window.** Redis grants a lease of n units at its time T; they may be spent until T + d. Redis
counts them until T + d + 60 s. Take any 60 s [a, a + 60]: every lease that was spent in it had T + d ≥ a and
T ≤ a + 60. So at the moment of the last grant among them all were counted, and a grant never lifts the count
above the limit: not more than the limit was spent. Nothing has to be known of when the units were spent.

What that costs: a unit spent at once is counted d too long, and up to a quantum more, for counts are kept per
quantum so that a window is at most some 520 numbers whatever its limit is. With d = 50 ms for requests that
wait and 400 ms for what is leased ahead, that is 0.1 to 0.6 s of 60: at least 99 % of the limit. Units that
a lease ends with are given back and counted no more.

**Long leases.** Who calls once in two seconds would find each lease of 400 ms ended, and wait for Redis each
time. Where a counter stays within a sixteenth of each of its limits with it, a lease has d = 5 s. So what is
counted 5 s too long, or held by workers that don't spend it, is never more than a sixteenth of the limit in
all, and a 64th for one lease; at steady load near the limit there is none.

**Two clocks.** Redis' clock alone dates leases. The worker asks at its own monotonic time m; T is after m, so
m + d is not after Redis' T + d: the worker spends until m + d. An answer that comes later than that is worth
nothing and is given back. No wall clocks are compared. Clocks run at different rates (up to 0.05 %), and T is
cut to a millisecond: the 60 s are counted as 60.03. If Redis' clock is set back, counts keep the time that
they had left. If it leaps ahead by x, what was counted ends x too early, once.

**Calendar counts.** Quotas (UTC day and month, Redis' clock) and spend caps (UTC month, nanos of a currency)
are plain counts that leases are added to. A lease ends with its day at the latest, so that what a day grants
is spent in it. What is given back is only taken off the day and month that it was granted in. A worker that
is killed loses what it held: at most one slice, and never more passes than the limit.

**Slices.** Requests that wait are served first. What is leased beyond them is at most an eighth of what is
then left: several workers share what is near its end, and a rest below eight is only given to who uses it at
once. So the last units are had by whichever worker asks.

**Lost answers.** A lease whose answer is lost ends by itself. Giving back is only safe once, so the calls
must not be repeated by the client library. What was spent while Redis was away is reported until that is
acknowledged: twice at worst, which counts too much and not too little.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple

# A minute, with what clocks may differ in their rates.
WINDOW_MS = 60_030
QUANTUM_MS = 125
DAY_MS = 86_400_000
# What is leased ahead is at most this part of what is left.
SHARE = 8
# A lease for longer, where all that is counted with it is at most this part of each limit, and it is at most
# that part.
LONG_LEASE_MS = 5_000
LONG_USED, LONG_SHARE = 16, 64
# For a limit that isn't there.
NO_LIMIT = -1


class Limits(NamedTuple):
    minute: int = NO_LIMIT
    day: int = NO_LIMIT
    month: int = NO_LIMIT


class Returned(NamedTuple):
    """Units that weren't spent, and what they were counted in."""

    end_q: int
    day: int
    month: int
    units: int


class Spent(NamedTuple):
    """Units that were spent without a lease, so long ago."""

    age_ms: int
    units: int


class Known(NamedTuple):
    """What a worker knows of the calendar's counts, for a Redis that has lost them."""

    day: int = -1
    day_used: int = 0
    month: int = -1
    month_used: int = 0


class Ask(NamedTuple):
    limits: Limits
    # Units for requests that wait, and what is wished for those to come; both are multiples of `unit`, the
    # least that is of use.
    need: int = 0
    extra: int = 0
    unit: int = 1
    lease_ms: int = 250
    waiting_ms: int = 50
    known: Known = Known()
    returned: tuple[Returned, ...] = ()
    spent: tuple[Spent, ...] = ()
    # What is wished for, instead of `extra`, where a lease may be held for longer; a multiple of `unit` too.
    long_extra: int = 0
    long_ms: int = LONG_LEASE_MS

    def arguments(self) -> list[str | int]:
        flat: list[str | int] = [
            *self.limits,
            self.need,
            self.extra,
            self.unit,
            self.lease_ms,
            self.waiting_ms,
            *self.known,
            self.long_extra,
            self.long_ms,
        ]
        flat.append(len(self.returned))
        for returned in self.returned:
            flat += returned
        for spent in self.spent:
            flat += spent
        return flat


class Reply(NamedTuple):
    granted: int
    # From the time of asking; and what the lease is counted in.
    lease_ms: int
    end_q: int
    day: int
    month: int
    # By everybody, this lease among it.
    minute_used: int
    day_used: int
    month_used: int
    # Until the window's first count ends, and until the next day and month.
    next_ms: int
    day_left_ms: int
    month_left_ms: int
    # 1: Redis knew nothing of this counter.
    fresh: int


@dataclass(frozen=True, slots=True)
class Counters:
    """What Redis holds of one counter. `window`: the units whose time ends with each quantum."""

    window: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    last_ms: int | None = None
    day: int | None = None
    day_used: int = 0
    month: int = 0
    month_used: int = 0


def lease(counters: Counters, ask: Ask, now_ms: int) -> tuple[Reply, Counters]:
    """What Redis answers, and what it holds from then on."""
    limits = ask.limits
    has_minute = limits.minute >= 0
    has_calendar = limits.day >= 0 or limits.month >= 0
    fresh = (has_minute and counters.last_ms is None) or (has_calendar and counters.day is None)
    window = _set_back(counters, now_ms) if has_minute else {}
    day, month, day_used, month_used = now_ms // DAY_MS, month_of(now_ms // DAY_MS), 0, 0
    day_left_ms = (day + 1) * DAY_MS - now_ms
    month_left_ms = month_end_ms(month) - now_ms
    if has_calendar and counters.day is not None:
        # A clock that was set back over midnight stays in the later day: counting it anew would forget it.
        if counters.day >= day:
            day, day_used = counters.day, counters.day_used
        if counters.month >= month:
            month, month_used = counters.month, counters.month_used
    if has_calendar and ask.known.day == day:
        day_used = max(day_used, ask.known.day_used)
    if has_calendar and ask.known.month == month:
        month_used = max(month_used, ask.known.month_used)

    for end_q, its_day, its_month, units in ask.returned:
        if end_q in window:
            window[end_q] = max(0, window[end_q] - units)
        day_used = max(0, day_used - units) if its_day == day else day_used
        month_used = max(0, month_used - units) if its_month == month else month_used
    for age_ms, units in ask.spent:
        spent_ms = now_ms - age_ms
        if has_minute:
            _add(window, spent_ms + WINDOW_MS, units)
        day_used += units if spent_ms // DAY_MS == day else 0
        month_used += units if month_of(spent_ms // DAY_MS) == month else 0
    window = {end_q: units for end_q, units in window.items() if end_q > now_ms // QUANTUM_MS and units}

    used = sum(window.values())
    pairs = [pair for pair in zip(limits, (used, day_used, month_used), strict=True) if pair[0] >= 0]
    free = max(0, min((limit - used for limit, used in pairs), default=2**53))
    granted = min(ask.need, free)
    if granted < ask.need:
        granted -= granted % ask.unit
    more = min(ask.extra, (free - granted) // SHARE)
    more -= more % ask.unit
    lease_ms = ask.lease_ms if more > 0 else ask.waiting_ms
    long = min((ask.long_extra, *(limit // LONG_SHARE for limit, _ in pairs)))
    long -= long % ask.unit
    if long > 0 and all((used + granted + long) * LONG_USED <= limit for limit, used in pairs):
        more, lease_ms = long, ask.long_ms
    granted += more
    if has_calendar:
        lease_ms = min(lease_ms, day_left_ms)
    end_q = _add(window, now_ms + lease_ms + WINDOW_MS, granted) if granted and has_minute else 0

    next_ms = min(window) * QUANTUM_MS - now_ms if window else WINDOW_MS
    used, day_used, month_used = used + granted * has_minute, day_used + granted, month_used + granted
    reply = Reply(
        *(granted, lease_ms, end_q, day, month, used, day_used, month_used),
        *(next_ms, day_left_ms, month_left_ms, int(fresh)),
    )
    # What isn't limited just now isn't touched; what nothing is known of isn't begun by asking for nothing.
    after = counters
    if has_minute and (counters.last_ms is not None or window):
        after = replace(after, window=MappingProxyType(window), last_ms=now_ms)
    if has_calendar and (counters.day is not None or day_used or month_used):
        after = replace(after, day=day, day_used=day_used, month=month, month_used=month_used)
    return reply, after


def month_of(day: int) -> int:
    """The month of a day since 1970, counted from the year 0."""
    date = datetime.fromtimestamp(day * 86_400, UTC)
    return date.year * 12 + date.month - 1


def month_end_ms(month: int) -> int:
    year, index = divmod(month + 1, 12)
    return int(datetime(year, index + 1, 1, tzinfo=UTC).timestamp()) * 1000


def _set_back(counters: Counters, now_ms: int) -> dict[int, int]:
    """The window, moved with a clock that was set back by a second or more."""
    back = ((counters.last_ms or now_ms) - now_ms) // QUANTUM_MS
    return {end_q - (back if back >= 8 else 0): units for end_q, units in counters.window.items()}


def _add(window: dict[int, int], until_ms: int, units: int) -> int:
    end_q = -(-until_ms // QUANTUM_MS)
    window[end_q] = window.get(end_q, 0) + units
    return end_q
