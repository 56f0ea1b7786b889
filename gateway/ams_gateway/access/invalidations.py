"""Receives which snapshots have changed, and tells the caches; also when it can't receive."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

from ams_common.snapshots import INVALIDATION_CHANNEL
from redis import asyncio as redis
from redis.exceptions import RedisError

from ams_gateway.tasks import end_task

log = logging.getLogger(__name__)

# A connection that is dead without saying so is noticed after two of these.
_PING_S = 0.4
_RETRY_S = 0.2


class Cache(Protocol):
    def invalidate(self, name: str) -> None: ...
    def set_connected(self, connected: bool) -> None: ...


class Invalidations:
    """Subscribes while open. `route` gives the cache that a name belongs to."""

    def __init__(
        self, redis_url: str, caches: tuple[Cache, ...], route: Callable[[str], Cache | None]
    ) -> None:
        self._redis_url = redis_url
        self._caches = caches
        self._route = route
        self._task: asyncio.Task[None] | None = None
        self.is_connected = False

    async def open(self) -> None:
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        if self._task is not None:
            await end_task(self._task)

    async def _keep(self) -> None:
        while True:
            client = redis.Redis.from_url(
                self._redis_url, socket_connect_timeout=2, socket_timeout=2, health_check_interval=0
            )
            try:
                await self._listen(client)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("invalidations can't be received: %s", type(error).__name__)
            finally:
                self._set_connected(False)
                with contextlib.suppress(RedisError, OSError):
                    await client.aclose()
            await asyncio.sleep(_RETRY_S)

    async def _listen(self, client: "redis.Redis") -> None:
        async with client.pubsub() as channel:
            await channel.subscribe(INVALIDATION_CHANNEL)
            unanswered = 0
            while True:
                message = await channel.get_message(timeout=_PING_S)
                if message is None:
                    if unanswered >= 2:
                        raise TimeoutError
                    unanswered += 1
                    await channel.ping()
                    continue
                unanswered = 0
                if message["type"] == "subscribe":
                    self._set_connected(True)
                elif message["type"] == "message":
                    self._invalidate(message["data"])

    def _invalidate(self, data: bytes) -> None:
        name = data.decode("utf-8", "replace")
        cache = self._route(name)
        if cache is not None:
            cache.invalidate(name)

    def _set_connected(self, connected: bool) -> None:
        if connected != self.is_connected:
            self.is_connected = connected
            for cache in self._caches:
                cache.set_connected(connected)
