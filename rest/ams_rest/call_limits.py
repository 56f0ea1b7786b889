"""How many calls of the REST API may be made a minute, by each token and from each address.

The counts are in Redis, for every BFF alike. A sliding window: the minute's own count, and of the one before
as much as still lies within the last 60 s, as if its calls had come evenly. So never much more than the limit
passes in any 60 s. Without Redis calls are served uncounted, since what they reach has bounds of its own.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from ams_common.redis_client import RedisClient
from redis.exceptions import RedisError

from ams_rest.http_errors import CallsLimitedError

log = logging.getLogger(__name__)

# Of the client that is given: calls wait for it.
COUNTING_TIMEOUT_S = 0.25
# A Redis that doesn't answer is left alone for so long, or each call would wait for it.
_REST_S = 1.0
# Several people may share an address.
_TOKENS_AN_ADDRESS = 5
# KEYS: a count. ARGV: the limit, how many seconds to keep it. Answers whether the call is counted, how many
# are left, and in how many seconds there is one more. The minutes are those of Redis' own clock.
_TAKE = """
local time = redis.call('TIME')
local second = time[1] % 60 + time[2] / 1000000
local minute = math.floor(time[1] / 60)
local held = redis.call('HMGET', KEYS[1], 'minute', 'count', 'before')
local behind = minute - (tonumber(held[1]) or minute)
local count, before = tonumber(held[2]) or 0, tonumber(held[3]) or 0
if behind == 1 then count, before = 0, count elseif behind ~= 0 then count, before = 0, 0 end
local used = count + before * (60 - second) / 60
local limit = tonumber(ARGV[1])
local taken = used + 1 <= limit
if taken then
  count, used = count + 1, used + 1
  redis.call('HSET', KEYS[1], 'minute', minute, 'count', count, 'before', before)
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end
local wait = 60 - second
if before > 0 then wait = math.min(wait, math.max(1, used + 1 - limit) * 60 / before) end
return {taken and 1 or 0, math.floor(math.max(0, limit - used)), math.max(1, math.ceil(wait))}
"""
_KEPT_S = 120


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
    def __init__(self, redis: RedisClient, per_minute: int) -> None:
        """`redis` gives up after COUNTING_TIMEOUT_S, and repeats nothing by itself."""
        self._redis = redis
        self._of_a_token = per_minute
        self._of_an_address = per_minute * _TOKENS_AN_ADDRESS
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
            taken = await asyncio.gather(*(self._count(limit, who) for limit, who in counted))
        except RedisError:
            log.warning("REST calls can't be counted")
            self._rests_until_s = time.monotonic() + _REST_S
            return None
        if refused := [allowance for is_counted, allowance in taken if not is_counted]:
            raise CallsLimitedError(refused[-1].headers, refused[-1].reset_s)
        return taken[-1][1]

    async def _count(self, limit: int, who: str) -> tuple[bool, Allowance]:
        is_counted, remaining, reset_s = await self._redis.eval(
            _TAKE, 1, f"ams:rest:{limit}:{who}", limit, _KEPT_S
        )
        return bool(is_counted), Allowance(limit, remaining, reset_s)
