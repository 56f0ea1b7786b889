"""How many notifications people haven't read, as the bell of every page shows it.

Pages ask for it again and again: of all open pages of a person one asks identity-svc, every few seconds at
the most. Another process may know an older number for as long.
"""

import time
from collections.abc import Awaitable, Callable

_KEPT_S = 15.0
_MOST = 10_000


class UnreadCounts:
    """One for the process, by user id."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        # The oldest first.
        self._known: dict[str, tuple[int, float]] = {}

    def known(self, user_id: str) -> int:
        """What was told last, however long ago; 0 for whom nothing is known of."""
        return self._known.get(user_id, (0, 0.0))[0]

    async def fresh(self, user_id: str, ask: Callable[[], Awaitable[int]]) -> int:
        """The number as it was a few seconds ago at the earliest. Raises what `ask` does."""
        unread, asked_at_s = self._known.get(user_id, (0, -_KEPT_S))
        if self._clock_s() - asked_at_s < _KEPT_S:
            return unread
        # Before the answer is there: pages that ask meanwhile show what was known.
        self.learn(user_id, unread)
        try:
            unread = await ask()
        except BaseException:
            self._known.pop(user_id, None)
            raise
        self.learn(user_id, unread)
        return unread

    def learn(self, user_id: str, unread: int) -> None:
        """The number as it is now, told by a service."""
        self._known.pop(user_id, None)
        self._known[user_id] = unread, self._clock_s()
        while len(self._known) > _MOST:
            del self._known[next(iter(self._known))]
