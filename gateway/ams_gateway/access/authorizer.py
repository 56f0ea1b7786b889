"""Authorize: may this key call this service now? In the order of docs/requirements.md, FR2-MERCH-03.

What follows it (addresses, the journal, limits) needs I/O, and comes after it.
"""

import time

from ams_common.access import may_call_from, may_make_call
from ams_common.apikeys import hash_key
from ams_common.clients import client_address

from ams_gateway.access.snapshot_cache import SnapshotCache
from ams_gateway.access.snapshots import CachedKey, CachedService, Grant
from ams_gateway.http import problems
from ams_gateway.http.problems import Problem
from ams_gateway.http.requests import Request


def authorize(
    request: Request, key: CachedKey | None, service: CachedService | None, now_s: float, address: str = ""
) -> Grant | Problem:
    """The one decision. `key` and `service` are the snapshots that the request names, None where there is no
    such thing; `now_s` is a Unix time, `address` the client's, which only some keys ask for. Pure: no I/O, no
    clock; a denial is a value, the first that holds."""
    if not request.key:
        return problems.KEY_MISSING
    if key is None:
        return problems.KEY_INVALID
    problem = key.problem if now_s < key.expires_at_s else key.problem_once_expired
    if problem is not None:
        return problem
    # Before anything about services: whoever has stolen a key learns nothing with it from elsewhere.
    if key.networks and not may_call_from(key.networks, address):
        return problems.ADDRESS_NOT_ALLOWED
    if request.service_name is None:
        return problems.SERVICE_REQUIRED
    # An unknown service and one that isn't granted get the same answer: nobody can probe for names.
    if service is None or service.service_id not in key.service_ids:
        return problems.SERVICE_NOT_GRANTED
    if key.rules and not may_make_call(key.rules.get(service.service_id, ()), request.method, request.path):
        return problems.CALL_NOT_ALLOWED
    return service.problem or key.grant_of(service)


class Authorizer:
    """Finds the snapshots that a request names, and decides by them."""

    def __init__(
        self,
        keys: SnapshotCache[CachedKey],
        services: SnapshotCache[CachedService],
        trusted_proxies: int = 0,
    ) -> None:
        """`trusted_proxies`: how many stand before the gateway and append to X-Forwarded-For."""
        self._keys = keys
        self._services = services
        self._trusted_proxies = trusted_proxies

    def decide(self, request: Request) -> Grant | Problem | None:
        """The decision when all that it needs is at hand, else None: then `find` and decide."""
        if not request.key:
            return problems.KEY_MISSING
        key = self._keys.get_cached(request.key_name)
        if key is None:
            return None
        service = None
        if request.service_name is not None and key.value is not None:
            held = self._services.get_cached(request.service_name)
            if held is None:
                return None
            service = held.value
        return authorize(request, key.value, service, time.time(), self._address(request, key.value))

    async def find_and_decide(self, request: Request) -> Grant | Problem:
        """Waits for what has to be loaded, for a bounded time. Raises SourceDownError."""
        key = await self._find_key(request)
        address = self._address(request, key)
        # A key that opens nothing is named before anything is looked up for its sake.
        decision = authorize(request, key, None, time.time(), address)
        if decision is not problems.SERVICE_NOT_GRANTED or request.service_name is None:
            return decision
        service = await self._services.get(request.service_name)
        return authorize(request, key, service, time.time(), address)

    async def find_service(self, request: Request) -> CachedService | None:
        """The service that a request names, whoever may call it. Raises SourceDownError."""
        return await self._services.get(request.service_name) if request.service_name is not None else None

    def held_service(self, request: Request) -> CachedService | None:
        """The service that a request names, if it is at hand."""
        if request.service_name is None:
            return None
        held = self._services.get_cached(request.service_name)
        return held.value if held is not None else None

    def _address(self, request: Request, key: CachedKey | None) -> str:
        """Worked out only for keys that may not be used from everywhere."""
        if key is None or not key.networks:
            return ""
        return client_address(request.peer, request.forwarded_for, self._trusted_proxies)

    async def _find_key(self, request: Request) -> CachedKey | None:
        if not request.key:
            return None
        # What is cached has the right form. For what isn't, a wrong checksum saves the look-up.
        if self._keys.get_cached(request.key_name) is None and hash_key(request.key) is None:
            return None
        return await self._keys.get(request.key_name)
