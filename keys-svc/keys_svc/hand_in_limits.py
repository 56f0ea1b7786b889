"""How many found keys may be handed in, by one client and by all: in memory, for each process by itself."""

from collections import deque
from collections.abc import Callable

from ams_common.errors import ResourceExhaustedError

_WINDOW_S = 60.0
_PER_CLIENT = 10
_IN_ALL = 300
_MAX_CLIENTS = 10_000


class HandInLimits:
    """At most so many in any minute. `clock`: seconds that only grow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._all: deque[float] = deque()
        self._by_client: dict[str, deque[float]] = {}

    def take(self, network: str) -> None:
        """Counts one of this client (ams_common.clients.client_network). Raises ResourceExhaustedError."""
        now_s = self._clock()
        own = self._by_client.setdefault(network, deque())
        for taken in (own, self._all):
            while taken and taken[0] <= now_s - _WINDOW_S:
                taken.popleft()
        if len(own) >= _PER_CLIENT or len(self._all) >= _IN_ALL:
            raise ResourceExhaustedError(
                "too_many_reports", "Many keys have been handed in just now. Try again in a minute."
            )
        own.append(now_s)
        self._all.append(now_s)
        if len(self._by_client) > _MAX_CLIENTS:
            self._drop_idle(now_s)

    def _drop_idle(self, now_s: float) -> None:
        # No more than _IN_ALL of them can have been here within the window.
        busy = {name: taken for name, taken in self._by_client.items() if taken[-1] > now_s - _WINDOW_S}
        self._by_client = busy
