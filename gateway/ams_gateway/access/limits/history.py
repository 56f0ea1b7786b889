"""What a worker remembers of a counter's last minute: how much is wanted of it, and what was spent."""

from dataclasses import dataclass

from ams_gateway.access.limits.window import WINDOW_MS, Reply, Returned

# Bursts are seen as if they had taken this long: two calls at once are no rate of thousands a second; and,
# where what is leased by it is held for long, no rate of dozens.
_MIN_PERIOD_S, _MIN_CALM_PERIOD_S = 0.05, 1.0
# Demand of so long ago says nothing.
_MAX_PERIOD_S = 5.0


class Demand:
    """How many units a second are wanted: `rate` half by the last period and half by those before,
    `calm_rate` by the last alone. `counted`: how many of all time are in them."""

    __slots__ = ("_from_s", "calm_rate", "counted", "rate")

    def __init__(self) -> None:
        self.rate = self.calm_rate = 0.0
        self._from_s = -1e9
        self.counted = 0

    def measure(self, taken: int, need: int, now_s: float) -> None:
        """`taken`: of all time. `need`: what is wanted now and can't be taken."""
        period_s, wanted = now_s - self._from_s, max(0, taken - self.counted + need)
        calm_rate = wanted / max(period_s, _MIN_CALM_PERIOD_S)
        if period_s < _MIN_PERIOD_S:
            # Too short to say that demand has fallen.
            self.rate = max(self.rate, wanted / _MIN_PERIOD_S)
            self.calm_rate = max(self.calm_rate, calm_rate)
            return
        rate = wanted / period_s
        self.rate = (self.rate + rate) / 2 if period_s < _MAX_PERIOD_S else rate
        self.calm_rate = calm_rate
        # What is needed will have been taken when this is next called.
        self._from_s, self.counted = now_s, taken + need


@dataclass(slots=True)
class _Second:
    """Leases that ended within a second: the earliest that they were counted in, and what was spent."""

    ended_s: float
    end_q: int
    day: int
    month: int
    spent: int


class SpentLeases:
    """Of the last minute, for what is refunded."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        # No deque: that takes 600 bytes when it is empty, and there are 100,000 of these.
        self._seconds: list[_Second] = []

    def add(self, reply: Reply, spent: int, now_s: float) -> None:
        self._forget(now_s)
        last = self._seconds[-1] if self._seconds else None
        is_new = last is None or now_s - last.ended_s >= 1
        if last is None or is_new or (last.day, last.month) != (reply.day, reply.month):
            self._seconds.append(_Second(now_s, reply.end_q, reply.day, reply.month, spent))
        else:
            last.spent += spent
            last.end_q = min(last.end_q, reply.end_q)

    def refund(self, units: int, before_q: int, now_s: float) -> Returned | None:
        """So many off the count that ends first of all that this worker's spending is in, if that is before
        `before_q`. Whichever lease they came from, that one ends no earlier: too much is counted at worst."""
        self._forget(now_s)
        enough = [second for second in self._seconds if second.spent >= units and second.end_q <= before_q]
        if not enough:
            return None
        first = min(enough, key=lambda second: second.end_q)
        first.spent -= units
        return Returned(first.end_q, first.day, first.month, units)

    def any_within(self, seconds: float, now_s: float) -> bool:
        return any(second.spent and second.ended_s > now_s - seconds for second in self._seconds)

    def _forget(self, now_s: float) -> None:
        while self._seconds and self._seconds[0].ended_s < now_s - WINDOW_MS / 1000:
            del self._seconds[0]
