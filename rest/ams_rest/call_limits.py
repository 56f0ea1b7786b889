"""How many calls of the REST API may be made a minute, by each token and from each address.

The counts are in Redis, for every BFF alike. A sliding window: never much more than the limit in any minute.
Without Redis calls are served uncounted, since what they reach has bounds of its own.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import ceil

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError

from ams_rest.http_errors import CallsLimitedError

log = logging.getLogger(__name__)

_TIMEOUT_S = 0.25
# A Redis that doesn't answer is left alone for so long, or each call would wait for it.
_REST_S = 1.0
# Several people may share an address.
_TOKENS_AN_ADDRESS = 5


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left to whoever called."""

    limit: int
    remaining: int
    reset_s: int

    @property
    def headers(self) -> Mapping[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers-10 has them, and as the gateway sends them."""
        return {
            "ratelimit-policy": f'"minute";q={self.limit};w=60',
            "ratelimit": f'"minute";r={self.remaining};t={self.reset_s}',
        }


class CallLimits:
    def __init__(self, redis_url: str, per_minute: int) -> None:
        storage = RedisStorage(
            f"async+{redis_url}",
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix="ams:rest",
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
        )
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._of_a_token = RateLimitItemPerMinute(per_minute)
        self._of_an_address = RateLimitItemPerMinute(per_minute * _TOKENS_AN_ADDRESS)
        self._rests_until_s = 0.0

    async def take(self, authorization: str | None, address: str) -> Allowance | None:
        """Count one call. None: it can't be counted at present.

        Raises CallsLimitedError, with how long to wait. Tokens are counted before they are
        checked, and strangers can make them up, so calls are counted by address too.
        """
        if time.monotonic() < self._rests_until_s:
            return None
        counted = [(self._of_an_address, f"address:{address}")]
        if authorization is not None:
            counted.append((self._of_a_token, f"token:{sha256(authorization.encode()).hexdigest()[:32]}"))
        try:
            hits = await asyncio.gather(*(self._limiter.hit(item, who) for item, who in counted))
            refused = [pair for pair, is_taken in zip(counted, hits, strict=True) if not is_taken]
            item, who = (refused or counted)[-1]
            stats = await self._limiter.get_window_stats(item, who)
        except StorageError:
            log.warning("REST calls can't be counted")
            self._rests_until_s = time.monotonic() + _REST_S
            return None
        allowance = Allowance(item.amount, stats.remaining, max(1, ceil(stats.reset_time - time.time())))
        if refused:
            raise CallsLimitedError(allowance.headers, allowance.reset_s)
        return allowance
