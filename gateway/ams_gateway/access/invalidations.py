"""Receives which snapshots have changed, and tells the caches; also when it can't receive."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ams_common.snapshots import INVALIDATION_CHANNEL
from redis.exceptions import RedisError

from ams_gateway.tasks import end_task

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

log = logging.getLogger(__name__)

# A connection that is dead without saying so is noticed after two of these.
_PING_S = 0.4
_RETRY_S = 0.2
_CONNECT_TIMEOUT_S = 2.0
_CLOSE_TIMEOUT_S = 1.0


class Cache(Protocol):
    def invalidate(self, name: str) -> None: ...
    def set_connected(self, connected: bool) -> None: ...


class Invalidations:
    """Subscribes while open. `route` gives the cache that a name belongs to. `client` may be of a cluster,
    whose nodes pass each message on to all."""

    def __init__(
        self,
        client: "Redis | RedisCluster",
        caches: tuple[Cache, ...],
        route: Callable[[str], Cache | None],
    ) -> None:
        self._client: Any = client
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
            channel = self._client.pubsub()
            try:
                await self._listen(channel)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("invalidations can't be received: %s", type(error).__name__)
            except Exception:
                # Whatever a message or the library does: without this loop nothing is ever heard again.
                log.exception("invalidations can't be received")
            finally:
                if self.is_connected:
                    self._set_connected(False)
                with contextlib.suppress(RedisError, OSError, TimeoutError):
                    async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                        await channel.aclose()
            await asyncio.sleep(_RETRY_S)

    async def _listen(self, channel: Any) -> None:
        # The client's own retries may take many seconds; until then a gap would not be told of.
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            await channel.subscribe(INVALIDATION_CHANNEL)
        unanswered = 0
        while True:
            async with asyncio.timeout(_PING_S + _CONNECT_TIMEOUT_S):
                message = await channel.get_message(timeout=_PING_S)
            if message is None:
                if unanswered >= 2:
                    raise TimeoutError
                unanswered += 1
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    await channel.ping()
                continue
            unanswered = 0
            if message["type"] == "subscribe":
                # Each time: the client subscribes again by itself after a lost connection, and what was
                # published meanwhile is lost.
                self._set_connected(True)
            elif message["type"] == "message":
                self._invalidate(message["data"])

    def _invalidate(self, data: bytes) -> None:
        name = data.decode("utf-8", "replace")
        cache = self._route(name)
        if cache is not None:
            cache.invalidate(name)

    def _set_connected(self, connected: bool) -> None:
        self.is_connected = connected
        for cache in self._caches:
            cache.set_connected(connected)
