"""Rate limits: a fixed window of a minute for each service and consumer, counted in Redis, so that it
holds across all workers and gateways (FR2-MERCH-03).

The window begins with its first request and ends by Redis' own clock: no gateway's clock takes part.
A refused request neither counts nor extends the window. While Redis is away each worker counts for
itself with the same limit: the gateway goes on serving, and up to (workers × limit) pass.
"""

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import hiredis

from ams_gateway.access.redis_pipe import RedisDownError, RedisPipe, pack

WINDOW_S = 60

_SCRIPT = b"""
local used = tonumber(redis.call('GET', KEYS[1]) or '0')
local left_ms = redis.call('PTTL', KEYS[1])
if used >= tonumber(ARGV[1]) and left_ms > 0 then return {used + 1, left_ms} end
used = redis.call('INCR', KEYS[1])
if left_ms < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]); left_ms = tonumber(ARGV[2]) end
return {used, left_ms}
"""
_SHA = hashlib.sha1(_SCRIPT, usedforsecurity=False).hexdigest()
LOAD_SCRIPT = pack("SCRIPT", "LOAD", _SCRIPT)

_MAX_LOCAL = 50_000


@dataclass(slots=True)
class Allowance:
    """What is left of the window after this request."""

    allowed: bool
    limit: int
    remaining: int
    resets_in_s: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The fields of draft-ietf-httpapi-ratelimit-headers, and Retry-After when nothing is left."""
        headers = [
            (b"ratelimit-policy", b'"default";q=%d;w=%d' % (self.limit, WINDOW_S)),
            (b"ratelimit", b'"default";r=%d;t=%d' % (self.remaining, self.resets_in_s)),
        ]
        if not self.allowed:
            headers.append((b"retry-after", b"%d" % self.resets_in_s))
        return headers


class Limiter:
    """`pipe` must have been given LOAD_SCRIPT in its preamble."""

    def __init__(self, pipe: RedisPipe, *, prefix: str = "ams:limit:") -> None:
        self._pipe = pipe
        self._prefix = prefix
        self._commands: OrderedDict[tuple[str, str, int], bytes] = OrderedDict()
        self._local: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    async def take(self, service_id: str, consumer_id: str, limit: int) -> Allowance:
        """Count one request, or refuse it. One round trip; never raises for Redis being away."""
        try:
            reply = await self._pipe.execute(self._command(service_id, consumer_id, limit))
            if isinstance(reply, hiredis.ReplyError):
                reply = await self._reload(reply, service_id, consumer_id, limit)
        except RedisDownError:
            return self._take_locally(service_id, consumer_id, limit)
        used, left_ms = reply
        return _allowance(limit, used, left_ms / 1000)

    async def _reload(self, error: Exception, service_id: str, consumer_id: str, limit: int) -> Any:
        """Give Redis the script again, which it forgets when it restarts or is flushed."""
        if not str(error).startswith("NOSCRIPT"):
            raise RedisDownError(str(error))
        self._pipe.execute(LOAD_SCRIPT)
        reply = await self._pipe.execute(self._command(service_id, consumer_id, limit))
        if isinstance(reply, hiredis.ReplyError):
            raise RedisDownError(str(reply))
        return reply

    def _command(self, service_id: str, consumer_id: str, limit: int) -> bytes:
        key = (service_id, consumer_id, limit)
        command = self._commands.get(key)
        if command is None:
            # The braces keep one service's and consumer's window on one node of a Redis cluster.
            name = f"{self._prefix}{{{service_id}:{consumer_id}}}"
            command = pack("EVALSHA", _SHA, "1", name, str(limit), str(WINDOW_S * 1000))
            self._commands[key] = command
            if len(self._commands) > _MAX_LOCAL:
                self._commands.popitem(last=False)
        return command

    def _take_locally(self, service_id: str, consumer_id: str, limit: int) -> Allowance:
        now_s = time.monotonic()
        key = (service_id, consumer_id)
        ends_s, used = self._local.get(key, (0.0, 0))
        if now_s >= ends_s:
            ends_s, used = now_s + WINDOW_S, 0
        used = min(used, limit) + 1
        self._local[key] = (ends_s, used)
        if len(self._local) > _MAX_LOCAL:
            self._local.popitem(last=False)
        return _allowance(limit, used, ends_s - now_s)


def _allowance(limit: int, used: int, left_s: float) -> Allowance:
    return Allowance(used <= limit, limit, max(0, limit - used), max(1, -int(-left_s // 1)))
