"""Live answers: who looks at the same thing shares one poller, so the database is asked once for all of
them."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Generic, TypeVar

from ams_common.errors import ResourceExhaustedError
from ams_common.server import cancel

A = TypeVar("A")

INTERVAL_S: Final = 1.0
# Of this process; and of one owner, so that nobody leaves none for the others.
MOST_WATCHERS: Final = 1000
MOST_OF_ONE_OWNER: Final = 20
# At the same time, so that those who look once find a connection.
_MOST_ASKING: Final = 3
# A question that takes long is asked less often: it may take this part of the time.
_MOST_SHARE: Final = 0.2
_RETRY_AFTER_S: Final = "30"


class _Poller(Generic[A]):
    """Asks one question again and again, for as long as somebody watches it."""

    def __init__(self, ask: Callable[[], Awaitable[A]], interval_s: float, asking: asyncio.Semaphore) -> None:
        self._ask = ask
        self._interval_s = interval_s
        self._asking = asking
        self._changed = asyncio.Condition()
        self._answers: list[A] = []  # the latest, once there is one
        self._version = 0
        self.watchers = 0

    async def run(self) -> None:
        """For ever."""
        while True:
            async with self._asking:
                started_s = time.monotonic()
                answer = await self._ask()
                took_s = time.monotonic() - started_s
            if self._answers != [answer]:
                async with self._changed:
                    self._answers, self._version = [answer], self._version + 1
                    self._changed.notify_all()
            await asyncio.sleep(max(self._interval_s - took_s, took_s / _MOST_SHARE))

    async def next_after(self, version: int) -> tuple[int, A]:
        """An answer with a version other than `version`. Whoever is slow sees the latest one only."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._version != version)
            return self._version, self._answers[0]


class LiveAnswers(Generic[A]):
    """The pollers of a process, by what they ask."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._pollers: dict[Hashable, tuple[_Poller[A], asyncio.Task[None]]] = {}
        self._by_owner: Counter[Hashable] = Counter()
        self._asking = asyncio.Semaphore(_MOST_ASKING)

    @property
    def watchers(self) -> int:
        """How many are watching."""
        return self._by_owner.total()

    async def watch(
        self, owner: Hashable, question: Hashable, ask: Callable[[], Awaitable[A]]
    ) -> AsyncGenerator[A, None]:
        """The answer now, and again whenever it has changed. Questions that are equal are asked once, by
        `ask` of who came first. Raises ResourceExhaustedError, and whatever `ask` raises."""
        with self._room_for(owner):
            async with self._poller_of((owner, question), ask) as (poller, polling):
                version = 0
                while True:
                    waiting = asyncio.ensure_future(poller.next_after(version))
                    try:
                        await asyncio.wait([waiting, polling], return_when=asyncio.FIRST_COMPLETED)
                        if polling.done():
                            polling.result()  # raises what made it fail
                        version, answer = waiting.result()
                    finally:
                        await cancel([waiting])
                    yield answer

    @contextmanager
    def _room_for(self, owner: Hashable) -> Iterator[None]:
        if self._by_owner[owner] >= MOST_OF_ONE_OWNER or self.watchers >= MOST_WATCHERS:
            raise ResourceExhaustedError(
                "too_many_watchers",
                "Too many live figures are open. Close some.",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._by_owner[owner] += 1
        try:
            yield
        finally:
            self._by_owner[owner] -= 1
            self._by_owner += Counter()  # drops the owners that have none

    @asynccontextmanager
    async def _poller_of(
        self, key: Hashable, ask: Callable[[], Awaitable[A]]
    ) -> AsyncIterator[tuple[_Poller[A], asyncio.Task[None]]]:
        if key not in self._pollers or self._pollers[key][1].done():
            made = _Poller(ask, self._interval_s, self._asking)
            self._pollers[key] = made, asyncio.create_task(made.run())
        poller, polling = self._pollers[key]
        poller.watchers += 1
        try:
            yield poller, polling
        finally:
            poller.watchers -= 1
            if not poller.watchers:
                if self._pollers.get(key) == (poller, polling):
                    del self._pollers[key]
                await cancel([polling])
