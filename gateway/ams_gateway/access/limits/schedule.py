"""Which holdings are to be looked at when. No I/O: `now_s` is monotonic time."""

import math
from collections.abc import Iterator

from ams_gateway.access.limits.holding import Holding

_TICK_S = 0.025


class Schedule:
    """Lists by ticks, so that a holding costs nothing until its time: a worker may have 100,000 that hold
    something for seconds, and looking at each of them twenty times a second would be all that it does."""

    def __init__(self, now_s: float) -> None:
        self._tick = int(now_s / _TICK_S)
        self._listed: dict[int, list[Holding]] = {}
        # A holding may be in several lists: it is looked at by the one that is named here.
        self._ticks: dict[Holding, int] = {}

    def __contains__(self, holding: Holding) -> bool:
        return holding in self._ticks

    def __iter__(self) -> Iterator[Holding]:
        return iter(self._ticks)

    def add(self, holding: Holding, at_s: float) -> None:
        """Not before then, unless it is to be looked at sooner anyway."""
        # Never the tick that is being looked through: one that is always due would keep that from ending.
        tick = max(self._tick + 1, math.ceil(at_s / _TICK_S))
        sooner = self._ticks.get(holding)
        if sooner is None or tick < sooner:
            self._ticks[holding] = tick
            self._listed.setdefault(tick, []).append(holding)

    def pop_due(self, now_s: float, most: int) -> list[Holding]:
        """So many at most of those whose time has come; they are in no list then."""
        due: list[Holding] = []
        last = int(now_s / _TICK_S)
        while self._tick <= last and len(due) < most:
            listed = self._listed.get(self._tick)
            if not listed:
                self._listed.pop(self._tick, None)
                self._tick += 1
                continue
            holding = listed.pop()
            if self._ticks.get(holding) == self._tick:
                del self._ticks[holding]
                due.append(holding)
        return due
