"""Where the snapshots that the gateway serves from lie in Redis, how they get there, and how a change is
made known.

A snapshot's version grows with each change: of two the higher is in force. Beside each snapshot its version
lies in Redis too, for Redis can compare numbers and can't read protobuf.
"""

from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.keys.v1.events_pb2 import KeySnapshot

Snapshot: TypeAlias = KeySnapshot | ServiceSnapshot

# Its messages are the Redis key of the snapshot that changed.
INVALIDATION_CHANNEL = "ams:invalidate"

# Owners write again on every change; what nobody touches for a week is loaded anew through gRPC.
SNAPSHOT_TTL_S = 7 * 24 * 3600

# A gateway confirms each snapshot with its owner at least this often: so long a change can stay unknown.
CONFIRMED_WITHIN = timedelta(seconds=60)

# KEYS: the snapshot, its version. ARGV: the version, the snapshot, TTL in seconds, the channel.
# One that is older than what is there changes nothing: a relay that lost its turn may still send it. Redis
# that is full refuses to set and can still delete: then the snapshot that is out of date goes, and who finds
# none asks the owner, which is slower and never wrong. The version stays, so that nothing older than it can
# take the free place.
WRITE_SNAPSHOT_SCRIPT = """
if tonumber(redis.call('GET', KEYS[2]) or '0') > tonumber(ARGV[1]) then return 'outdated' end
local outcome = 'written'
if redis.pcall('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]).err then
  redis.call('DEL', KEYS[1])
  outcome = 'removed'
else
  redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[3])
end
redis.call('PUBLISH', ARGV[4], KEYS[1])
return outcome
"""


def key_snapshot_key(key_hash: bytes) -> str:
    """The Redis key of an API key's snapshot. `key_hash`: the 32 bytes of its SHA-256."""
    return f"ams:key:{key_hash.hex()}"


def service_snapshot_key(service: str | UUID) -> str:
    """The Redis key of a service's snapshot, by id or slug: the same snapshot lies under both."""
    return f"ams:service:{service}"


def snapshot_version_key(redis_key: str) -> str:
    """The Redis key of the version of the snapshot under `redis_key`: in its hash slot, for one script
    takes both."""
    return f"{{{redis_key}}}:version"
