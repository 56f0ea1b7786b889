"""In which roles each session's person may act: of all live pages of a session one asks, once a beat."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import TypeAlias

from ams.policy.v1.policy_pb2 import Role

Roles: TypeAlias = Collection[Role.ValueType]


class SessionRoles:
    """One for the process, by the sessions' secrets."""

    def __init__(self, beat_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._beat_s = beat_s
        self._clock_s = clock_s
        # The oldest first.
        self._asked: dict[str, tuple[asyncio.Future[Roles], float]] = {}

    async def current(self, session_secret: str, ask: Callable[[], Awaitable[Roles]]) -> tuple[Roles, float]:
        """The roles as they were at most a beat ago, and when that was, by the clock. Raises what `ask` does,
        which isn't canceled with who waits for it."""
        now_s = self._clock_s()
        for secret, (_, asked_at_s) in list(self._asked.items()):
            if now_s - asked_at_s < self._beat_s:
                break
            del self._asked[secret]
        if session_secret not in self._asked:
            asking = asyncio.ensure_future(ask())
            # Whoever waits is told of an error; there may be nobody left.
            asking.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._asked[session_secret] = asking, now_s
        answer, asked_at_s = self._asked[session_secret]
        return await asyncio.shield(answer), asked_at_s
