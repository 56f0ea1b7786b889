"""Confirms in the background that what a cache holds is still true: with its owner, or, while the owner is
away, with the copies in Redis.

Invalidations make changes known within a second. This is for when one gets lost: a write to Redis that
failed, a Redis restored from an older copy, a dead subscription.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from ams_gateway.access.snapshot_cache import CopiedSource, SnapshotCache, SourceDownError
from ams_gateway.tasks import end_task

log = logging.getLogger(__name__)

# What has come from Redis is confirmed so soon: one batch takes in what was loaded meanwhile.
_TICK_S = 1.0
_OWNER_BATCH = 500
# Smaller, for a reply to each name is parsed on the event loop.
_COPIES_BATCH = 100
# Between two batches, so that 100,000 entries to confirm neither take the event loop from requests nor come
# down on an owner that has just returned: 200 batches in about ten seconds.
_PACE_S = 0.04
# Below what is left of a minute after confirm_s, so that an owner's return is noticed within it.
_MAX_BACKOFF_S = 16.0


class Backoff:
    """When to try again what has failed: after 1 s, then 2, 4, … up to a bound. Pure."""

    def __init__(self, max_s: float = _MAX_BACKOFF_S) -> None:
        self._max_s = max_s
        self._pause_s = 0.0
        self._retry_at_s = 0.0

    def is_over(self, now_s: float) -> bool:
        return not self._pause_s or now_s >= self._retry_at_s

    def succeeded(self) -> None:
        self._pause_s = 0.0

    def failed(self, now_s: float) -> None:
        self._pause_s = min(self._pause_s * 2, self._max_s) if self._pause_s else 1.0
        self._retry_at_s = now_s + self._pause_s


class Confirmations:
    """Works while open. One batch at a time: neither the owner nor Redis gets two questions of a worker at
    once."""

    def __init__(
        self,
        cache: SnapshotCache[Any],
        source: CopiedSource,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock`: the same as the cache's."""
        self._cache = cache
        self._source = source
        self._clock = clock
        self._owner_backoff = Backoff()
        self._copies_backoff = Backoff()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        if self._task is not None:
            await end_task(self._task)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            try:
                await self.confirm_due()
            except Exception:
                # Without this loop a lost invalidation would stay lost until the process ends.
                log.exception("snapshots could not be confirmed")

    async def confirm_due(self) -> None:
        """Confirm what is due now, as far as anybody answers."""
        while True:
            if not (await self._ask_owner() or await self._ask_copies()):
                return
            await asyncio.sleep(_PACE_S)

    async def _ask_owner(self) -> bool:
        """Whether a batch was confirmed."""
        asked_at_s = self._clock()
        if not self._owner_backoff.is_over(asked_at_s):
            return False
        due = self._cache.take_due(_OWNER_BATCH)
        if not due:
            return False
        try:
            changes = await self._source.check({name: entry.version for name, entry in due.items()})
        except SourceDownError as error:
            self._owner_backoff.failed(self._clock())
            log.warning("the owner can't confirm snapshots: %s", error)
            return False
        self._owner_backoff.succeeded()
        self._cache.confirm(due, changes, asked_at_s)
        return True

    async def _ask_copies(self) -> bool:
        """Whether a batch was compared."""
        asked_at_s = self._clock()
        if not self._copies_backoff.is_over(asked_at_s):
            return False
        due = self._cache.take_due(_COPIES_BATCH)
        if not due:
            return False
        try:
            copies = await self._source.read_copies(list(due))
        except SourceDownError:
            self._copies_backoff.failed(self._clock())
            return False
        self._copies_backoff.succeeded()
        self._cache.compare_copies(due, copies, asked_at_s)
        return True
