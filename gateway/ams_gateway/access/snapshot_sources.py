"""Where snapshots come from: Redis, and the owning service through gRPC behind it. Nothing here waits longer
than its timeout, whichever of them hangs."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import grpc
from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.keys.v1 import keys_service_pb2_grpc as keys_rpc
from ams_common.client import ServiceToken, invoke
from ams_common.errors import (
    AppError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from ams_common.snapshots import key_snapshot_key, service_snapshot_key, snapshot_version_key
from redis.exceptions import RedisError

from ams_gateway.access.snapshot_cache import Loaded, Source, SourceDownError
from ams_gateway.tasks import end_task
from ams_gateway.upstream.breaker import BreakerLimits, CircuitBreaker

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

T = TypeVar("T")

log = logging.getLogger(__name__)

# Owners write through on every change; this only bounds what nobody touches any more.
_KEPT_S = 86_400
# After so long without an answer of Redis its owner is asked for a snapshot as well.
_REDIS_HEAD_START_S = 0.25
# Both end below CacheLimits.load_timeout_s, the owner's with the head start before it.
_REDIS_TIMEOUT_S = 0.95
_OWNER_TIMEOUT_S = 0.7
# In the background, where nobody waits.
_CHECK_TIMEOUT_S = 2.0
_COPIES_TIMEOUT_S = 1.0
_OFFER_TIMEOUT_S = 0.25
# So long a new service token is waited for while there is one that may be good still.
_TOKEN_TIMEOUT_S = 0.3
_MAX_OFFERS = 64
_BREAKER = BreakerLimits(consecutive_failures=3, open_s=0.5, max_open_s=4.0, max_probe_s=3.0)

# KEYS: the snapshot, its version. ARGV: the version, the snapshot, TTL in seconds. Where the owner had to
# take the snapshot away, its version stays: what we have loaded before that must not take the free place.
_OFFER = """
if redis.call('EXISTS', KEYS[1]) == 1 then return end
if tonumber(redis.call('GET', KEYS[2]) or '0') > tonumber(ARGV[1]) then return end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[3])
"""

KEY_PREFIX = key_snapshot_key(b"")
SERVICE_PREFIX = service_snapshot_key("")


class RedisSource:
    """The copies in Redis in front of `owner`.

    Who doesn't answer is left alone for a moment: then nobody waits for it again and again. But who has been
    asked is heard for as long as the asker has time: with the other one away, late is soon enough. `client`
    may be of a cluster, for each command names one hash slot; it must return bytes.
    """

    def __init__(
        self,
        client: "Redis | RedisCluster",
        owner: Source,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client: Any = client
        self._owner = owner
        self._clock = clock
        self._redis_breaker = CircuitBreaker(_BREAKER)
        self._owner_breaker = CircuitBreaker(_BREAKER)
        self._offers: set[asyncio.Task[None]] = set()

    async def load(self, name: str) -> Loaded:
        asked = asyncio.create_task(self._read_copy(name))
        owner: asyncio.Task[bytes | None] | None = None
        try:
            await asyncio.wait((asked,), timeout=_REDIS_HEAD_START_S)
            if not asked.done():
                owner = asyncio.create_task(self.load_from_owner(name))
                await asyncio.wait((asked, owner), return_when=asyncio.FIRST_COMPLETED)
            if asked.done() and (copy := asked.result()) is not None:
                return Loaded(copy, is_by_owner=False)
            try:
                return Loaded(await (owner or self.load_from_owner(name)), is_by_owner=True)
            except SourceDownError:
                if (copy := await asked) is None:
                    raise
                return Loaded(copy, is_by_owner=False)
        finally:
            await _give_up(task for task in (asked, owner) if task is not None)

    async def _read_copy(self, name: str) -> bytes | None:
        """None when there is none, and when Redis is away."""
        try:
            return await self._guard(
                self._redis_breaker,
                lambda: self._client.get(name),
                _REDIS_TIMEOUT_S,
                slow_s=_REDIS_HEAD_START_S,
            )
        except SourceDownError:
            return None

    async def load_from_owner(self, name: str) -> bytes | None:
        return await self._guard(self._owner_breaker, lambda: self._owner.load(name), _OWNER_TIMEOUT_S)

    async def check(self, held: Mapping[str, int]) -> dict[str, bytes | None]:
        # Not through the breaker: who confirms has a backoff of its own.
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT_S):
                return await self._owner.check(held)
        except TimeoutError as error:
            raise SourceDownError("TimeoutError") from error

    async def read_copies(self, names: list[str]) -> dict[str, bytes]:
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.get(name)
        copies = await self._guard(self._redis_breaker, pipeline.execute, _COPIES_TIMEOUT_S)
        return {name: copy for name, copy in zip(names, copies, strict=True) if copy is not None}

    def offer(self, name: str, data: bytes, version: int) -> None:
        if len(self._offers) < _MAX_OFFERS and self._redis_breaker.is_closed:
            offer = asyncio.create_task(self._offer(name, data, version))
            self._offers.add(offer)
            offer.add_done_callback(self._offers.discard)

    async def close(self) -> None:
        for offer in list(self._offers):
            await end_task(offer)

    async def _offer(self, name: str, data: bytes, version: int) -> None:
        try:
            async with asyncio.timeout(_OFFER_TIMEOUT_S):
                await self._client.eval(_OFFER, 2, name, snapshot_version_key(name), version, data, _KEPT_S)
        except (RedisError, OSError, TimeoutError) as error:
            log.info("a snapshot could not be put into redis: %s", type(error).__name__)

    async def _guard(
        self,
        breaker: CircuitBreaker,
        ask: Callable[[], Awaitable[T]],
        timeout_s: float,
        slow_s: float = math.inf,
    ) -> T:
        """The answer, in time. Raises SourceDownError, at once while the other side has been failing.

        `slow_s`: who is given up after this long, for another was faster, counts as failing."""
        asked_at_s = self._clock()
        if not breaker.admits(asked_at_s):
            raise SourceDownError("it has been failing")
        try:
            async with asyncio.timeout(timeout_s):
                answer = await ask()
        except _RefusedError:
            # It is there: that it can't say one thing is no reason to leave it alone.
            breaker.succeeded(asked_at_s)
            raise
        except (RedisError, OSError, TimeoutError, SourceDownError) as error:
            breaker.failed(self._clock(), asked_at_s)
            raise SourceDownError(type(error).__name__) from error
        except BaseException:
            if (now_s := self._clock()) - asked_at_s >= slow_s:
                breaker.failed(now_s, asked_at_s)
            else:
                breaker.abandoned(asked_at_s)
            raise
        breaker.succeeded(asked_at_s)
        return answer


async def _give_up(tasks: Iterable[asyncio.Task[bytes | None]]) -> None:
    """End those who were overtaken: their failure is nobody's."""
    under_way = [task for task in tasks if not task.done()]
    for task in under_way:
        task.cancel()
    await asyncio.gather(*under_way, return_exceptions=True)


class _RefusedError(SourceDownError):
    """The owner answered, with an error."""


class KeysSvcSource:
    """Asks keys-svc, for the keys with the hashes that are in the names."""

    def __init__(self, channel: grpc.aio.Channel, token: ServiceToken) -> None:
        self._stub = keys_rpc.KeysServiceStub(channel)
        self._token = SharedToken(token)

    async def load(self, name: str) -> bytes | None:
        request = keys_pb.GetKeySnapshotRequest(key_hash=_hash_in(name))
        try:
            answer = await _ask(self._stub.GetKeySnapshot, request, self._token)
        except _NothingError:
            return None
        return answer.SerializeToString()

    async def check(self, held: Mapping[str, int]) -> dict[str, bytes | None]:
        request = keys_pb.CheckKeySnapshotsRequest(
            held=[
                keys_pb.CheckKeySnapshotsRequest.Held(key_hash=_hash_in(name), version=version)
                for name, version in held.items()
            ]
        )
        answer = await _ask(self._stub.CheckKeySnapshots, request, self._token, _CHECK_TIMEOUT_S)
        missing: dict[str, bytes | None] = {key_snapshot_key(key_hash): None for key_hash in answer.missing}
        return missing | {
            key_snapshot_key(changed.key_hash): changed.snapshot.SerializeToString()
            for changed in answer.changed
        }


class CatalogSvcSource:
    """Asks catalog-svc, for the services whose ids or slugs are in the names."""

    def __init__(self, channel: grpc.aio.Channel, token: ServiceToken) -> None:
        self._stub = catalog_rpc.CatalogServiceStub(channel)
        self._token = SharedToken(token)

    async def load(self, name: str) -> bytes | None:
        request = catalog_pb.GetServiceSnapshotRequest(service=name.removeprefix(SERVICE_PREFIX))
        try:
            answer = await _ask(self._stub.GetServiceSnapshot, request, self._token)
        except _NothingError:
            return None
        return answer.SerializeToString()

    async def check(self, held: Mapping[str, int]) -> dict[str, bytes | None]:
        request = catalog_pb.CheckServiceSnapshotsRequest(
            held=[
                catalog_pb.CheckServiceSnapshotsRequest.Held(
                    service=name.removeprefix(SERVICE_PREFIX), version=version
                )
                for name, version in held.items()
            ]
        )
        answer = await _ask(self._stub.CheckServiceSnapshots, request, self._token, _CHECK_TIMEOUT_S)
        changes: dict[str, bytes | None] = {service_snapshot_key(name): None for name in answer.missing}
        # A name in another spelling, which the answer does not echo, must not pass as confirmed.
        spellings: dict[str, list[str]] = {}
        for name in held:
            spellings.setdefault(_canonical(name.removeprefix(SERVICE_PREFIX)), []).append(name)
        for snapshot in answer.changed:
            data = snapshot.SerializeToString()
            for name in (snapshot.service_id, snapshot.slug):
                changes |= dict.fromkeys(spellings.get(_canonical(name), ()), data)
        return changes


def _hash_in(name: str) -> bytes:
    return bytes.fromhex(name.removeprefix(KEY_PREFIX))


def _canonical(service: str) -> str:
    try:
        return str(UUID(service))
    except ValueError:
        return service.casefold()


class SharedToken:
    """The gateway's service token for many askers at once: they share one fetch, which goes on when an asker
    gives up, and while it is slow or fails the last token is used."""

    def __init__(self, token: ServiceToken) -> None:
        self._token = token
        self._last = ""
        self._fetch: asyncio.Task[str] | None = None

    async def get(self) -> str:
        """A token, as good as can be had now. Raises AppError when there never was one."""
        fetch = self._fetch
        if fetch is None:
            fetch = self._fetch = asyncio.create_task(self._token.get())
            fetch.add_done_callback(self._end_fetch)
        if self._last:
            await asyncio.wait((fetch,), timeout=_TOKEN_TIMEOUT_S)
            return self._last
        return await asyncio.shield(fetch)

    def _end_fetch(self, fetch: asyncio.Task[str]) -> None:
        self._fetch = None
        if not fetch.cancelled() and fetch.exception() is None:
            self._last = fetch.result()


class _NothingError(Exception):
    """The owner says that there is no such thing."""


async def _ask(
    method: Callable[..., Awaitable[T]],
    request: Any,
    token: SharedToken,
    timeout_s: float = _OWNER_TIMEOUT_S,
) -> T:
    """The owner's answer. Raises _NothingError and SourceDownError."""
    try:
        return await invoke(method, request, token=await token.get(), timeout_s=timeout_s)
    except (NotFoundError, InvalidArgumentError) as error:
        raise _NothingError from error
    except (UnavailableError, DeadlineExceededError) as error:
        raise SourceDownError(error.code) from error
    except AppError as error:
        raise _RefusedError(error.code) from error
