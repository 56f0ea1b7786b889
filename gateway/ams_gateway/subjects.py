"""Key and service as the hot path sees them: made once from a snapshot, read on each request."""

from dataclasses import dataclass

from ams.catalog.v1 import events_pb2 as catalog
from ams.identity.v1 import events_pb2 as identity
from ams.keys.v1 import events_pb2 as keys

from ams_gateway.targets import Target, parse_base_url


# Equal only to themselves: caches look them up on each request, and hashing every field is dear.
@dataclass(frozen=True, slots=True, eq=False)
class Key:
    key_id: str
    consumer_id: str
    project_id: str
    key_prefix: str
    service_ids: frozenset[str]
    revoked: bool
    expires_at_s: float
    consumer_blocked: bool


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    service_id: str
    slug: str
    merchant_id: str
    active: bool
    merchant_suspended: bool
    # None: the base URL is missing or can't be used.
    target: Target | None
    rate_limit_per_minute: int
    price_version_id: str
    # 0: the gateway's default.
    upstream_timeout_s: float


def read_key(data: bytes) -> Key:
    """From a serialised KeySnapshot. A standing or status that isn't known counts as the strict one."""
    snapshot = keys.KeySnapshot.FromString(data)
    return Key(
        key_id=snapshot.key_id,
        consumer_id=snapshot.consumer_id,
        project_id=snapshot.project_id,
        key_prefix=snapshot.key_prefix,
        service_ids=frozenset(snapshot.service_ids),
        revoked=snapshot.status not in (keys.KEY_ACTIVE, keys.KEY_EXPIRED),
        expires_at_s=0.0
        if snapshot.status == keys.KEY_EXPIRED
        else snapshot.expires_at.seconds + snapshot.expires_at.nanos / 1e9,
        consumer_blocked=snapshot.consumer_standing != identity.STANDING_ACTIVE,
    )


def read_service(data: bytes) -> Service:
    """From a serialised ServiceSnapshot."""
    snapshot = catalog.ServiceSnapshot.FromString(data)
    return Service(
        service_id=snapshot.service_id,
        slug=snapshot.slug,
        merchant_id=snapshot.merchant_id,
        active=snapshot.status == catalog.ACTIVE,
        merchant_suspended=snapshot.merchant_standing != identity.STANDING_ACTIVE,
        target=parse_base_url(snapshot.base_url),
        rate_limit_per_minute=snapshot.rate_limit_per_minute,
        price_version_id=snapshot.price_version_id,
        upstream_timeout_s=snapshot.upstream_timeout_ms / 1000,
    )
