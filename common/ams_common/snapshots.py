"""Where the snapshots that the gateway serves from lie in Redis, and how a change is made known."""

from uuid import UUID

# Its messages are the Redis key of the snapshot that changed.
INVALIDATION_CHANNEL = "ams:invalidate"

# Owners write again on every change; what nobody touches for a week is loaded anew through gRPC.
SNAPSHOT_TTL_S = 7 * 24 * 3600


def key_snapshot_key(key_hash: bytes) -> str:
    """The Redis key of an API key's snapshot. `key_hash`: the 32 bytes of its SHA-256."""
    return f"ams:key:{key_hash.hex()}"


def service_snapshot_key(service: str | UUID) -> str:
    """The Redis key of a service's snapshot, by id or slug: the same snapshot lies under both."""
    return f"ams:service:{service}"
