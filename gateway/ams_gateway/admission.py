"""Decide and limit: who calls what, and whether they may, in the PRD's order."""

import time
from hashlib import sha256

from ams_common.apikeys import hash_key
from ams_common.snapshots import key_snapshot_key, service_snapshot_key

from ams_gateway import problems
from ams_gateway.addresses import AddressForbiddenError, AddressUnknownError, Resolver
from ams_gateway.decision import refuse_key, refuse_service
from ams_gateway.headers import Request
from ams_gateway.journal import Journal
from ams_gateway.limits import Limiter
from ams_gateway.problems import Header, Problem
from ams_gateway.snapshots import SnapshotCache, SourceDownError
from ams_gateway.subjects import Key, Service


class Admission:
    """Who calls what, and where it is."""

    __slots__ = ("addresses", "headers", "key", "service")

    def __init__(self, key: Key, service: Service, addresses: list[str]) -> None:
        self.key = key
        self.service = service
        self.addresses = addresses
        self.headers: list[Header] = []


class Gatekeeper:
    def __init__(
        self,
        keys: SnapshotCache[Key],
        services: SnapshotCache[Service],
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

    async def admit(self, request: Request, limit_headers: list[Header]) -> Admission | Problem:
        try:
            subjects = await self._authorize(request)
        except SourceDownError:
            return problems.VALIDATION_UNAVAILABLE
        if isinstance(subjects, Problem):
            return subjects
        key, service = subjects
        assert service.target is not None
        addresses = self._resolver.cached(service.target.origin.host)
        if addresses is None:
            try:
                addresses = await self._resolver.resolve(service.target.origin.host)
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
        return Admission(key, service, addresses)

    async def _authorize(self, request: Request) -> tuple[Key, Service] | Problem:
        text = request.headers.key
        if not text:
            return problems.KEY_MISSING
        # What is held has the right form: the checksum need only be looked at when it isn't.
        name = key_snapshot_key(sha256(text).digest())
        held_key = self._keys.held(name)
        if held_key is None and hash_key(text) is None:
            return problems.KEY_INVALID
        key = held_key.value if held_key is not None else await self._keys.get(name)
        problem = refuse_key(key, time.time())
        if problem is not None or key is None:
            return problem or problems.KEY_INVALID
        if request.service is None:
            return problems.SERVICE_REQUIRED
        name = service_snapshot_key(request.service)
        held_service = self._services.held(name)
        service = held_service.value if held_service is not None else await self._services.get(name)
        problem = refuse_service(key, service, named=True)
        if problem is not None or service is None:
            return problem or problems.SERVICE_NOT_GRANTED
        return key, service
