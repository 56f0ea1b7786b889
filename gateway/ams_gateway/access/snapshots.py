"""Key and service as the hot path sees them: made once from a snapshot, read on each request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ams.catalog.v1 import events_pb2 as catalog
from ams.catalog.v1.forwarding_pb2 import ForwardingSettings, SealedCredential, SealedSigningKey
from ams.catalog.v1.pricing_pb2 import Price
from ams.keys.v1 import events_pb2 as keys
from ams.keys.v1.events_pb2 import ServiceTerms, SpendCap
from ams_common.access import KeyProblem, ServiceProblem, key_problem, service_problem
from ams_common.call_rules import CallRule
from ams_common.networks import Network, read_network

from ams_gateway.access.call_price import CallPrice, call_price
from ams_gateway.http import problems
from ams_gateway.http.cors import CorsPolicy
from ams_gateway.http.problems import Problem
from ams_gateway.http.targets import Target, parse_base_url

_KEY_PROBLEMS = {
    KeyProblem.REVOKED: problems.KEY_REVOKED,
    KeyProblem.EXPIRED: problems.KEY_EXPIRED,
    KeyProblem.DISABLED: problems.KEY_DISABLED,
    KeyProblem.CONSUMER_STOPPED: problems.CONSUMER_BLOCKED,
}
_SERVICE_PROBLEMS = {
    ServiceProblem.MERCHANT_STOPPED: problems.MERCHANT_SUSPENDED,
    ServiceProblem.INACTIVE: problems.SERVICE_INACTIVE,
}


class Grant:
    """What was proved: this key may call this service. `terms` is what the gateway makes of it, once."""

    __slots__ = ("key", "service", "terms")

    def __init__(self, key: "CachedKey", service: "CachedService") -> None:
        self.key = key
        self.service = service
        self.terms: Any = None


# Equal only to themselves: caches look them up on each request, and hashing every field is dear.
@dataclass(frozen=True, slots=True, eq=False)
class CachedKey:
    """`problem` is why the key opens nothing before `expires_at_s` (Unix time), None if it does open
    something; `problem_once_expired` is why from then on."""

    key_id: str
    consumer_id: str
    project_id: str
    key_prefix: str
    service_ids: frozenset[str]
    expires_at_s: float
    problem: Problem | None
    problem_once_expired: Problem | None
    version: int
    is_test: bool
    spend_caps: tuple[SpendCap, ...]
    # Where calls may come from; none: anywhere.
    networks: tuple[Network, ...]
    # By service, of those whose calls are bounded: which may be made, and the merchant's limits.
    rules: Mapping[str, tuple[CallRule, ...]]
    limits: Mapping[str, ServiceTerms]
    _grants: dict[str, Grant] = field(default_factory=dict)

    def grant_of(self, service: "CachedService") -> Grant:
        """The same one as long as neither snapshot changes."""
        grant = self._grants.get(service.service_id)
        if grant is None or grant.service is not service:
            grant = self._grants[service.service_id] = Grant(self, service)
        return grant


@dataclass(frozen=True, slots=True, eq=False)
class CachedService:
    """`problem` is why nobody can call the service, None if it can be called; then `target` is known."""

    service_id: str
    slug: str
    merchant_id: str
    target: Target | None
    rate_limit_per_minute: int
    price_version_id: str
    problem: Problem | None
    version: int
    forwarding: ForwardingSettings
    price: Price
    call_price: CallPrice
    credential: SealedCredential
    signing_key: SealedSigningKey
    next_signing_key: SealedSigningKey
    # Whether a call's event says how long its bodies were.
    traces_request_size: bool
    traces_response_size: bool
    # None: no page of another origin may call the service.
    cors: CorsPolicy | None


def read_key(data: bytes) -> CachedKey:
    """From a serialised KeySnapshot. A standing or status that isn't known counts as the strict one."""
    snapshot = keys.KeySnapshot.FromString(data)
    expires_at_s = snapshot.expires_at.seconds + snapshot.expires_at.nanos / 1e9

    def problem(now_s: float) -> Problem | None:
        found = key_problem(snapshot.status, expires_at_s, snapshot.consumer_standing, now_s)
        return _KEY_PROBLEMS[found] if found is not None else None

    return CachedKey(
        key_id=snapshot.key_id,
        consumer_id=snapshot.consumer_id,
        project_id=snapshot.project_id,
        key_prefix=snapshot.key_prefix,
        service_ids=frozenset(snapshot.service_ids),
        expires_at_s=expires_at_s,
        problem=problem(float("-inf")),
        problem_once_expired=problem(expires_at_s),
        version=snapshot.version,
        is_test=snapshot.is_test,
        spend_caps=tuple(snapshot.spend_caps),
        networks=tuple(map(read_network, snapshot.allowed_networks)),
        rules={
            terms.service_id: tuple(
                CallRule(frozenset(rule.methods), rule.path) for rule in terms.allowed_calls
            )
            for terms in snapshot.service_terms
            if terms.allowed_calls
        },
        limits={terms.service_id: terms for terms in snapshot.service_terms},
    )


def read_service(data: bytes) -> CachedService:
    """From a serialised ServiceSnapshot. A standing or status that isn't known counts as the strict one."""
    snapshot = catalog.ServiceSnapshot.FromString(data)
    target = parse_base_url(snapshot.base_url)
    forwarding = snapshot.forwarding
    problem = None if target is not None else problems.UPSTREAM_MISCONFIGURED
    if (found := service_problem(snapshot.status, snapshot.merchant_standing)) is not None:
        problem = _SERVICE_PROBLEMS[found]
    return CachedService(
        service_id=snapshot.service_id,
        slug=snapshot.slug,
        merchant_id=snapshot.merchant_id,
        target=target,
        rate_limit_per_minute=snapshot.rate_limit_per_minute,
        price_version_id=snapshot.price_version_id,
        problem=problem,
        version=snapshot.version,
        forwarding=forwarding,
        price=snapshot.price,
        call_price=call_price(snapshot.price),
        credential=snapshot.credential,
        signing_key=snapshot.signing_key,
        next_signing_key=snapshot.next_signing_key,
        traces_request_size=not snapshot.tracing.skips_request_size,
        traces_response_size=not snapshot.tracing.skips_response_size,
        cors=CorsPolicy(forwarding.cors_origins, passes_cookies=forwarding.passes_cookies)
        if forwarding.cors_origins
        else None,
    )
