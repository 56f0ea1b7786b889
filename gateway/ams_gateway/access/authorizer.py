"""Authorize and limit: who calls what, and whether they may, in the order of FR2-MERCH-03."""

import time
from hashlib import sha256

from ams_common.apikeys import hash_key
from ams_common.snapshots import key_snapshot_key, service_snapshot_key

from ams_gateway.access.decision import authorize_key, authorize_service
from ams_gateway.access.rate_limits import Limiter
from ams_gateway.access.snapshot_cache import SnapshotCache, SourceDownError
from ams_gateway.access.snapshots import CachedKey, CachedService
from ams_gateway.http import problems
from ams_gateway.http.headers import Request
from ams_gateway.http.problems import Header, Problem
from ams_gateway.http.targets import Target
from ams_gateway.metering.journal import Journal
from ams_gateway.upstream.resolver import AddressForbiddenError, AddressUnknownError, Resolver


class Grant:
    """What was proved of a request: who calls what, and where that is."""

    __slots__ = ("addresses", "headers", "key", "service", "target")

    def __init__(self, key: CachedKey, service: CachedService, target: Target, addresses: list[str]) -> None:
        self.key = key
        self.service = service
        self.target = target
        self.addresses = addresses
        self.headers: list[Header] = []


class RequestAuthorizer:
    def __init__(
        self,
        keys: SnapshotCache[CachedKey],
        services: SnapshotCache[CachedService],
        limiter: Limiter,
        resolver: Resolver,
        journal: Journal,
        max_body_bytes: int,
    ) -> None:
        self._keys = keys
        self._services = services
        self._limiter = limiter
        self._resolver = resolver
        self._journal = journal
        self._max_body_bytes = max_body_bytes

    async def authorize(self, request: Request, limit_headers: list[Header]) -> Grant | Problem:
        """The grant, and the rate limit's headers into `limit_headers`, which a denial has too."""
        try:
            proved = await self._authorize(request)
        except SourceDownError:
            return problems.VALIDATION_UNAVAILABLE
        if isinstance(proved, Problem):
            return proved
        key, service = proved
        target = service.target
        assert target is not None
        addresses = self._resolver.cached(target.origin.host)
        if addresses is None:
            try:
                addresses = await self._resolver.resolve(target.origin.host)
            except AddressForbiddenError:
                return problems.UPSTREAM_MISCONFIGURED
            except AddressUnknownError:
                return problems.UPSTREAM_UNREACHABLE
        length = request.headers.content_length
        if length is not None and length > self._max_body_bytes:
            return problems.BODY_TOO_LARGE
        if not self._journal.is_accepting():
            return problems.METERING_UNAVAILABLE
        if service.rate_limit_per_minute > 0:
            allowance = await self._limiter.take(
                service.service_id, key.consumer_id, service.rate_limit_per_minute
            )
            limit_headers += allowance.headers()
            if not allowance.allowed:
                return problems.RATE_LIMITED
        return Grant(key, service, target, addresses)

    async def _authorize(self, request: Request) -> tuple[CachedKey, CachedService] | Problem:
        text = request.headers.key
        if not text:
            return problems.KEY_MISSING
        name = key_snapshot_key(sha256(text).digest())
        cached_key = self._keys.get_cached(name)
        # What is cached has the right form. For what isn't, a wrong checksum saves the look-up.
        if cached_key is None and hash_key(text) is None:
            return problems.KEY_INVALID
        key = authorize_key(
            cached_key.value if cached_key is not None else await self._keys.get(name), time.time()
        )
        if isinstance(key, Problem):
            return key
        service: CachedService | None = None
        if request.service is not None:
            name = service_snapshot_key(request.service)
            cached_service = self._services.get_cached(name)
            service = cached_service.value if cached_service is not None else await self._services.get(name)
        granted = authorize_service(key, service, is_named=request.service is not None)
        return granted if isinstance(granted, Problem) else (key, granted)
