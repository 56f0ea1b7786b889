"""The leases that a worker holds of one counter, spent in their order. No I/O: `now_s` is monotonic time."""

from typing import NamedTuple

from ams_gateway.access.limits.history import SpentLeases
from ams_gateway.access.limits.window import Reply, Returned

LEASE_MS = 400
# So long before its end a long lease is renewed: ten times as long as a round trip and a sweep take.
_RENEW_S = 0.5


class Lease(NamedTuple):
    held: int
    ends_s: float
    reply: Reply

    @property
    def is_long(self) -> bool:
        """The counter was far below its limits when this was granted."""
        return self.reply.lease_ms > LEASE_MS


class Leases:
    """A base of Holding and no part of it: `take` is on the way of each request. None ends before one that is
    spent before it."""

    __slots__ = (
        "_granted",
        "_lease",
        "_look_s",
        "_low",
        "_next",
        "_returned",
        "_spent",
        "held",
        "should_renew",
        "taken",
    )

    def __init__(self) -> None:
        # Of the lease that is being spent; and of all, ever.
        self.held = 0
        self.taken = 0
        # Time to ask for the next lease, so that no request will wait for it.
        self.should_renew = False
        self._granted = 0
        # When less than that is held, and when it is that late, is that time.
        self._low = -1
        self._look_s = 0.0
        self._lease: Lease | None = None
        self._next: list[Lease] = []
        self._returned: list[Returned] = []
        self._spent = SpentLeases()

    def take(self, units: int, now_s: float) -> bool:
        """Spend of what is held, or False."""
        held = self.held - units
        if held < 0 or now_s >= self._look_s:
            if not self.has(units, now_s):
                return False
            held = self.held - units
        self.held = held
        self.taken += units
        if held < self._low:
            self.should_renew = True
        return True

    def has(self, units: int, now_s: float) -> bool:
        """Whether so many are held, once leases that have ended are put away."""
        lease = self._lease
        while lease is not None and (now_s >= lease.ends_s or self.held < units):
            if now_s < lease.ends_s and not self._next:
                break
            self._put_away(lease, now_s)
            lease = self._lease
        if lease is None:
            return False
        if now_s >= self._look_s and self.held < self._granted:
            # Most of its time is over, and it was spent of: whoever comes next shall not have to wait.
            self.should_renew, self._look_s = True, lease.ends_s
        return self.held >= units

    def holds(self, now_s: float) -> int:
        """How much is held in all."""
        self._end_leases(now_s)
        return self.held + sum(lease.held for lease in self._next)

    def untake(self, units: int) -> None:
        """Undo a `take` of this very moment."""
        self.held += units
        self.taken -= units

    def give_back_all(self, now_s: float) -> None:
        while self._lease is not None:
            self._put_away(self._lease, now_s)

    @property
    def _last_s(self) -> float:
        """When the last of them ends."""
        last = self._next[-1] if self._next else self._lease
        return -1e9 if last is None else last.ends_s

    @property
    def _can_return_later(self) -> bool:
        """A long lease is renewed or given back at its end, and what is to be returned goes with it: so far
        below a limit nobody misses that."""
        return self._lease is not None and self._lease.is_long

    def _append(self, new: Lease) -> None:
        if self._lease is None:
            self._start(new)
            return
        if new.ends_s < self._last_s:
            # A long one was held when the counter filled up. It would be spent first, and the new one end
            # unspent; and what is left of it is wanted by others now.
            self._lease = self._lease._replace(ends_s=min(self._lease.ends_s, new.ends_s))
            self._look_s = min(self._look_s, new.ends_s - LEASE_MS / 2000)
            self._next = [each._replace(ends_s=min(each.ends_s, new.ends_s)) for each in self._next]
        self._next.append(new)

    def _start(self, lease: Lease) -> None:
        self._lease = lease
        self.held = self._granted = lease.held
        if lease.is_long:
            # Asked again when a quarter is left, or none, or its time is nearly over.
            self._low, self._look_s = max(1, self.held // 4), lease.ends_s - _RENEW_S
        elif lease.reply.lease_ms == LEASE_MS:
            # When a quarter is left, or half of its time is over.
            self._low, self._look_s = self.held // 4, lease.ends_s - LEASE_MS / 2000
        else:
            self._low, self._look_s = -1, lease.ends_s

    def _put_away(self, lease: Lease, now_s: float) -> None:
        reply, spent = lease.reply, self._granted - self.held
        if self.held > 0:
            self._give_back(reply, self.held)
        if spent > 0:
            self._spent.add(reply, spent, now_s)
        self.held = 0
        self._lease = None
        if self._next:
            self._start(self._next.pop(0))

    def _end_leases(self, now_s: float) -> None:
        while self._lease is not None and now_s >= self._lease.ends_s:
            self._put_away(self._lease, now_s)

    def _give_back(self, reply: Reply, units: int) -> None:
        self._returned.append(Returned(reply.end_q, reply.day, reply.month, units))
