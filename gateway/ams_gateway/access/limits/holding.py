"""What one worker holds of one counter, and what it decides by it. No I/O: `now_s` is monotonic time."""

import math
from typing import NamedTuple

from ams_gateway.access.limits.away import AwaySpending, Share
from ams_gateway.access.limits.history import Demand
from ams_gateway.access.limits.leases import LEASE_MS, Lease, Leases
from ams_gateway.access.limits.policy import BOUNDS, UNCAPPED, Bound, CounterId
from ams_gateway.access.limits.window import LONG_LEASE_MS, WINDOW_MS, Ask, Known, Limits, Reply

# A lease for requests that wait lasts as long as its answer may take; twice as long when that was too short.
WAITING_MS, MAX_WAITING_MS = 50, 400
# After a refusal Redis isn't asked for this long, although another worker may have given something back.
_HOLD_S = {"minute": 0.25, "day": 1.0, "month": 1.0, "spend": 1.0}
# Later than any lease's end.
NO_END = 2**62
# What others leased while Redis was being lost: for so long nobody knew yet.
_UNSEEN_S = 0.5
# What was counted before Redis was lost has left the window for sure: a window, a long lease and a quantum.
FORGOTTEN_S = (WINDOW_MS + LONG_LEASE_MS) / 1000 + 0.5


class Denial(NamedTuple):
    bound: Bound
    # When there will be more.
    until_s: float


class Holding(Leases):
    """`held`, `taken` and `should_renew` are read on each request."""

    # A worker has 100,000 of them: half a kilobyte each.
    __slots__ = (
        "_away",
        "_bases",
        "_demand",
        "_denial",
        "_denied_units",
        "_hold_until_s",
        "_month_base",
        "_others_rate",
        "_received_s",
        "_tells_known",
        "_waiting_ms",
        "counter",
        "is_asking",
        "is_money",
        "is_shown",
        "limits",
        "reply",
        "unit",
        "unreachable_until_s",
    )

    def __init__(self, counter: CounterId, limits: Limits, *, is_money: bool = False) -> None:
        super().__init__()
        self.counter = counter
        self.limits = limits
        self.is_money = is_money
        # Its count is in answers: there, what is held and not yet spent looks as if it had been spent.
        self.is_shown = False
        self.is_asking = False
        # Until then the part of Redis that has this counter is taken for away.
        self.unreachable_until_s = -1e9
        # The least that is worth having: 1, or the price that was asked for last.
        self.unit = 1
        self._demand = Demand()
        self._denial: Denial | None = None
        self._denied_units = 0
        self._hold_until_s = 0.0
        self._waiting_ms = WAITING_MS
        self.reply: Reply | None = None
        self._received_s = -1e9
        # What may be spent yet of each limit, as `taken` counts: rest = base - taken.
        self._bases = list(limits)
        self._month_base = 0
        # By how much other workers' count grew lately, in units a second.
        self._others_rate = 0.0
        self._away = AwaySpending()
        self._tells_known = False

    # Spending

    def denial(self, units: int, now_s: float) -> Denial | None:
        """Why so many can't be had, as far as Redis has just said."""
        if self._denial is None or units < self._denied_units or now_s >= self._hold_until_s:
            return None
        return self._denial

    def share_denial(self, units: int, now_s: float, share: Share) -> Denial | None:
        """With Redis away: why so many are more than this worker's share."""
        for bound, limit, rest, until_s in self._shares(now_s, share):
            if limit >= 0 and units > rest:
                return Denial("spend" if self.is_money else bound, until_s)
        return None

    def take_share(self, units: int, now_s: float, share: Share) -> None:
        self._away.spend(units, now_s, share.utc_s)
        self.taken += units
        self._bases = [rest + self.taken for _, _, rest, _ in self._shares(now_s, share)]

    def owe(self, units: int, now_s: float, share: Share) -> None:
        """Spend what isn't held: Redis is told of it as of what was spent while it was away."""
        self._away.spend(units, now_s, share.utc_s)
        self.taken += units

    def change_limits(self, limits: Limits) -> None:
        """What was refused by the old ones may pass by these."""
        self.limits = limits
        self._denial = None

    def refund(self, units: int, now_s: float) -> None:
        """Give back what was spent for nothing; what it was spent of isn't known any more."""
        # What was spent of a lease that has ended is found only once that is put away.
        self._end_leases(now_s)
        lease = self._lease
        returned = self._spent.refund(units, lease.reply.end_q if lease else NO_END, now_s)
        if returned is not None:
            self._returned.append(returned)
            self._credit(units)
        elif lease is not None and self.held + units <= self._granted:
            self.untake(units)
        elif self._away.refund(units):
            self._credit(units)

    # Asking

    def ask(self, need: int, unit: int, now_s: float, utc_s: float) -> Ask:
        """What to ask of Redis now. What is given back with it isn't given back again, even if it is lost."""
        self._end_leases(now_s)
        self.unit = unit
        self._demand.measure(self.taken, need, now_s)
        extra = long_extra = 0
        if need or self.should_renew:
            # For one and a half of a lease's lives; for less than one call it isn't worth holding any.
            usable = self._usable(now_s)
            extra = max(0, int(self._demand.rate * LEASE_MS / 1000 * 1.5) - usable)
            extra -= extra % unit
            expected = self._demand.calm_rate * LONG_LEASE_MS / 1000
            if expected >= unit and not self.is_shown:
                long_extra = max(unit, int(expected * 1.5) - usable)
                long_extra -= long_extra % unit
        if self.should_renew and self._lease is not None:
            # Once for each lease: near the limit there is nothing to lease ahead.
            self.should_renew, self._low, self._look_s = False, -1, self._lease.ends_s
        returned, self._returned = tuple(self._returned), []
        known = Known()
        if self._tells_known and self.reply is not None:
            known = Known(self.reply.day, self.reply.day_used, self.reply.month, self.reply.month_used)
        return Ask(
            *(self.limits, need, extra, unit, LEASE_MS, self._waiting_ms),
            *(known, returned, self._away.report(now_s, utc_s)),
            *(long_extra, LONG_LEASE_MS),
        )

    def _usable(self, now_s: float) -> int:
        """How much of what is held will be spent before it ends, at the present rate."""
        return max(0, min(self.holds(now_s), int(self._demand.rate * (self._last_s - now_s))))

    def receive(self, ask: Ask, reply: Reply, asked_s: float, now_s: float) -> None:
        ends_s = asked_s + reply.lease_ms / 1000
        self._away.acknowledge(ask.spent)
        self._away.settle()
        self._tells_known = False
        if self.reply is not None and self.limits.minute >= 0:
            others = reply.minute_used - reply.granted - self.reply.minute_used
            self._others_rate = max(0.0, others / max(now_s - self._received_s, 0.05))
        self.reply, self._received_s = reply, now_s
        if reply.granted and now_s < ends_s:
            self._append(Lease(reply.granted, ends_s, reply))
            self._waiting_ms = max(WAITING_MS, self._waiting_ms * 9 // 10)
        elif reply.granted:
            # The answer came too late for its lease. Next time there shall be more time for it.
            self._give_back(reply, reply.granted)
            self._waiting_ms = min(MAX_WAITING_MS, self._waiting_ms * 2)
        self._denial = None
        free = [limit - used if limit >= 0 else UNCAPPED for limit, used in self._used(reply)]
        ours = self.held + sum(lease.held for lease in self._next) + self.taken
        self._bases = [max(0, rest) + ours for rest in free]
        self._month_base = reply.month_used - ours
        if reply.granted < ask.need and now_s < ends_s:
            self._deny(ask.unit, free, reply, now_s)

    def receive_away(self, ask: Ask, reply: Reply) -> None:
        """Redis is back, but not yet for all: it was told what was spent. What it says is not the whole, and
        a lease that was asked for before is given back."""
        self._away.acknowledge(ask.spent)
        self._tells_known = False
        if reply.granted:
            self._give_back(reply, reply.granted)

    def forget_counts(self) -> None:
        """Redis has lost what it counted: it is told of the calendar's counts when it is next asked."""
        self._tells_known = self.reply is not None

    def needs_exchange(self, now_s: float) -> bool:
        """Whether there is something to give back or to report, or a long lease to renew before a request has
        to wait for it. Ends leases that are over."""
        self._end_leases(now_s)
        if self._away.is_unreported or (self._returned and not self._can_return_later):
            return True
        if not self._can_return_later or now_s < self._look_s or self.taken <= self._demand.counted:
            return False
        self.should_renew = True
        return True

    def due_s(self, now_s: float) -> float | None:
        """When needs_exchange may become true by time alone; None: never."""
        if self._away.is_unreported or (self._returned and not self._can_return_later):
            return now_s
        if self._lease is None:
            return None
        return self._look_s if self._lease.is_long and now_s < self._look_s else self._lease.ends_s

    # What is known

    def rest(self, index: int, taken: int) -> int:
        """What was left of the limit after so many were taken: by what Redis said last, and own spending."""
        return max(0, min(self.limits[index], self._bases[index] - taken))

    def reset_s(self, index: int, now_s: float) -> float:
        """How long until there is more of it again, by what Redis said last."""
        if self.reply is None:
            return 60.0
        times = (self.reply.next_ms, self.reply.day_left_ms, self.reply.month_left_ms)
        return self._received_s + times[index] / 1000 - now_s

    def month_used(self) -> int:
        """By everybody, as far as is known: what this worker holds and hasn't spent is not among it."""
        return max(0, self._month_base + self.taken)

    def has_spent_within(self, seconds: float, now_s: float) -> bool:
        return self._spent.any_within(seconds, now_s)

    def _used(self, reply: Reply) -> tuple[tuple[int, int], ...]:
        return tuple(zip(self.limits, (reply.minute_used, reply.day_used, reply.month_used), strict=True))

    def _deny(self, unit: int, free: list[int], reply: Reply, now_s: float) -> None:
        index = min(range(3), key=lambda i: free[i])
        if free[index] >= unit:
            return
        left_ms = (reply.next_ms, reply.day_left_ms, reply.month_left_ms)[index]
        bound: Bound = "spend" if self.is_money else BOUNDS[index]
        self._denial = Denial(bound, now_s + left_ms / 1000)
        self._denied_units = unit
        self._hold_until_s = now_s + min(left_ms / 1000, _HOLD_S[bound])

    def _shares(self, now_s: float, share: Share) -> list[tuple[Bound, int, int, float]]:
        """Of each limit: what this worker may spend yet, and when there is more."""
        known: tuple[int | None, int | None, int | None] = (None, None, None)
        if self.reply is not None:
            reply = self.reply
            known = (
                reply.minute_used + self._unseen(share.lost_s)
                if now_s < self._received_s + FORGOTTEN_S
                else None,
                reply.day_used if reply.day == share.day else None,
                reply.month_used if reply.month == share.month else None,
            )
        spent = self._away.spent(now_s, share)
        times = (self._away.next_s(now_s), now_s + share.day_left_s, now_s + share.month_left_s)
        if known[0] is not None:
            times = (max(times[0], self._received_s + FORGOTTEN_S), *times[1:])
        return [
            (bound, limit, share.of(limit, used) - own, until_s)
            for bound, limit, used, own, until_s in zip(BOUNDS, self.limits, known, spent, times, strict=True)
        ]

    def _unseen(self, lost_s: float) -> int:
        """A guess of what others have leased since this worker was last told."""
        return math.ceil(self._others_rate * (max(0.0, lost_s - self._received_s) + _UNSEEN_S))

    def _credit(self, units: int) -> None:
        self._bases = [base + units for base in self._bases]
        self._month_base -= units
