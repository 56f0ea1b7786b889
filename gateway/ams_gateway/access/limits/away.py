"""Limits while Redis is away: each worker has a share, and the shares sum to the limit.

In the first minute the shares are of what was left when Redis was lost, so that before and after are not more
than the limit together. That is as exact as what each worker was told last: what others leased since (in a
moment, where calls come steadily, in up to five seconds where it holds a long lease, else since its own last
call) is guessed. A worker that had
nothing to do with a counter in the last minute knows nothing of it and takes its share of the whole limit. It
is the same with quotas and spend caps: the overshoot of an outage is at most the shares of the workers that
didn't know what was spent already.

When Redis is back, all report what they spent and go on with their shares until a moment that Redis names for
all; for a fifth of a second before it nobody spends. Whoever leased sooner would be given what others have
spent, or may yet spend, as their shares. Redis that lost its counts names the moment when they are over. A
worker that was cut off alone spent its share beside the whole limit of the others.
"""

from dataclasses import dataclass

from ams_gateway.access.limits.window import DAY_MS, WINDOW_MS, Spent, month_end_ms, month_of

_WINDOW_S = WINDOW_MS / 1000
# Spending is put together by this much: its window is so much longer.
_GRAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Share:
    """One of `workers`; `rank` None when it isn't known which. `utc_s` is now, by Redis' clock, and Redis was
    lost at `lost_s`, monotonic. `is_over`: for a moment nobody spends, so that all is reported when leases
    begin again."""

    workers: int
    rank: int | None
    utc_s: float
    lost_s: float
    is_over: bool = False

    def of(self, limit: int, used: int | None) -> int:
        """What this worker may have of a limit of which so much was used before Redis was lost (None:
        nothing is known of it, or all of that is over).

        What was used counts in full for as long as it may: the shares are of the rest, and so what was
        spent before and after is not more than the limit together. The remainder of the division goes to
        the first workers, where all divide the same."""
        if used is not None:
            return max(0, limit - used) // self.workers
        is_first = self.rank is not None and self.rank < limit % self.workers
        return limit // self.workers + is_first

    @property
    def day(self) -> int:
        return int(self.utc_s * 1000) // DAY_MS

    @property
    def month(self) -> int:
        return month_of(self.day)

    @property
    def day_left_s(self) -> float:
        return (self.day + 1) * DAY_MS / 1000 - self.utc_s

    @property
    def month_left_s(self) -> float:
        return month_end_ms(self.month) / 1000 - self.utc_s


@dataclass(slots=True)
class _Grain:
    began_s: float
    units: int = 0
    # What Redis hasn't acknowledged of it.
    unreported: int = 0


class AwaySpending:
    """What one worker spent of one counter without a lease. It counts against the worker's share until Redis
    is there again for all, and is reported to Redis as soon as that can be reached."""

    __slots__ = ("_day", "_day_units", "_month", "_month_units", "_old", "_recent", "_unreported")

    def __init__(self) -> None:
        self._recent: list[_Grain] = []
        # What is older than a minute and wasn't reported yet, put together by the day.
        self._old: dict[int, _Grain] = {}
        self._unreported = 0
        self._day = self._month = -1
        self._day_units = self._month_units = 0

    @property
    def is_unreported(self) -> bool:
        return self._unreported > 0

    def spend(self, units: int, now_s: float, utc_s: float) -> None:
        self._turn(now_s, utc_s)
        day = int(utc_s * 1000) // DAY_MS
        if day != self._day:
            self._day, self._day_units = day, 0
        if month_of(day) != self._month:
            self._month, self._month_units = month_of(day), 0
        if not self._recent or now_s - self._recent[-1].began_s >= _GRAIN_S:
            self._recent.append(_Grain(now_s))
        self._recent[-1].units += units
        self._recent[-1].unreported += units
        self._unreported += units
        self._day_units += units
        self._month_units += units

    def spent(self, now_s: float, share: Share) -> tuple[int, int, int]:
        """In the last minute, this day and this month."""
        self._turn(now_s, share.utc_s)
        return (
            sum(grain.units for grain in self._recent),
            self._day_units if self._day == share.day else 0,
            self._month_units if self._month == share.month else 0,
        )

    def next_s(self, now_s: float) -> float:
        """When the first of the last minute's spending leaves it."""
        return self._recent[0].began_s + _WINDOW_S + _GRAIN_S if self._recent else now_s + _WINDOW_S

    def refund(self, units: int) -> bool:
        """False where Redis was told of it already: then it stays counted."""
        for grain in self._recent:
            if grain.unreported >= units:
                grain.units -= units
                grain.unreported -= units
                self._unreported -= units
                self._day_units -= units
                self._month_units -= units
                return True
        return False

    def report(self, now_s: float, utc_s: float) -> tuple[Spent, ...]:
        """All that isn't acknowledged, dated no earlier than it was spent."""
        if not self._unreported:
            return ()
        self._turn(now_s, utc_s)
        return tuple(
            Spent(max(0, int((now_s - grain.began_s - _GRAIN_S) * 1000)), grain.unreported)
            for grain in (*self._old.values(), *self._recent)
            if grain.unreported
        )

    def acknowledge(self, reported: tuple[Spent, ...]) -> None:
        """Redis counts what was reported: the oldest of what is here, for more may have been spent since."""
        rest = sum(spent.units for spent in reported)
        for grain in (*self._old.values(), *self._recent):
            gone = min(rest, grain.unreported)
            grain.unreported -= gone
            self._unreported -= gone
            rest -= gone

    def settle(self) -> None:
        """Redis is there again for all: what it was told of counts there."""
        if not self._recent and not self._old:
            return
        self._old = {day: grain for day, grain in self._old.items() if grain.unreported}
        self._recent = [
            _Grain(grain.began_s, grain.unreported, grain.unreported)
            for grain in self._recent
            if grain.unreported
        ]
        self._day_units = self._month_units = self._unreported

    def _turn(self, now_s: float, utc_s: float) -> None:
        while self._recent and self._recent[0].began_s < now_s - _WINDOW_S - _GRAIN_S:
            grain = self._recent.pop(0)
            if grain.unreported:
                day = int((utc_s - (now_s - grain.began_s)) * 1000) // DAY_MS
                self._old.setdefault(day, _Grain(grain.began_s)).unreported += grain.unreported
