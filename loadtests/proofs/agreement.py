"""Whether the services agree: copies, events, snapshots, and what their own checks say."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ams.catalog.v1.events_pb2 import CatalogEvent, ServiceSnapshot
from ams.identity.v1.events_pb2 import IdentityEvent
from ams.identity.v1.token_ends_pb2 import TokenEnd
from ams.keys.v1.events_pb2 import KEY_REVOKED, KeySnapshot
from ams_common import topics
from ams_common.snapshots import key_snapshot_key, service_snapshot_key
from redis.asyncio import Redis
from support.running_system import RunningSystem

from loadtests.proofs.usage_topic import read_values
from loadtests.proofs.whole_changes import Connections

_PROJECTS = "SELECT project_id, name, owner_id, is_closed, version FROM projects"
_MEMBERS = "SELECT project_id, user_id, role, service_ids FROM project_members"
_PRICES = "SELECT price_version_id, service_id, starts_at, canceled_at IS NULL FROM price_versions"


@dataclass(frozen=True)
class Copy:
    """What one service keeps of another's; `original` and `copied` select the same rows."""

    name: str
    owner: str
    original: str
    keepers: tuple[str, ...]
    copied: str


_COPIES = (
    Copy(
        "merchants",
        "identity",
        "SELECT user_id, standing, standing_version FROM user_roles WHERE role = 'merchant'",
        ("catalog",),
        "SELECT merchant_id, standing, standing_version FROM merchants",
    ),
    Copy(
        "merchants' names",
        "identity",
        "SELECT user_id, company_name FROM merchant_profiles",
        ("catalog", "usage", "billing"),
        "SELECT merchant_id, display_name FROM merchants",
    ),
    Copy(
        "consumers",
        "identity",
        "SELECT user_id, standing, standing_version FROM user_roles WHERE role = 'consumer'",
        ("keys",),
        "SELECT consumer_id, standing, standing_version FROM consumers",
    ),
    Copy("projects", "identity", _PROJECTS, ("keys", "usage", "registry"), _PROJECTS),
    Copy("members", "identity", _MEMBERS, ("keys", "usage", "registry"), _MEMBERS),
    Copy(
        "services",
        "catalog",
        "SELECT service_id, merchant_id, name FROM services",
        ("keys", "billing"),
        "SELECT service_id, merchant_id, name FROM services",
    ),
    Copy("prices", "catalog", _PRICES, ("keys", "billing"), _PRICES),
)
# What tells of a thing's present state, by the changes that publish it.
_TOLD_BY = {
    "project": ("project.create", "project.update", "project.accept_invitation", "project.accept_offer"),
    "merchant": ("merchant.suspend",),
    "consumer": ("consumer.block",),
    "service": ("service.create", "service.submit", "service.approve", "service.suspend"),
}
_COMMANDS = {"identity-svc": "verify-audit", "usage-svc": "check", "billing-svc": "check"}


async def unsettled(connections: Connections) -> list[str]:
    """What is still on its way: rows of outboxes, and copies that are not yet what they are of."""
    found = []
    for schema, connection in connections.items():
        if count := await connection.fetchval("SELECT count(*) FROM outbox"):
            found.append(f"{schema}: {count} rows wait in the outbox")
        if count := await connection.fetchval("SELECT count(*) FROM dead_letters"):
            found.append(f"{schema}: {count} dead letters")
    for copy in _COPIES:
        original = _rows(await connections[copy.owner].fetch(copy.original))
        for keeper in copy.keepers:
            copied = _rows(await connections[keeper].fetch(copy.copied))
            found += _differences(f"{copy.name} of {keeper}", original, copied)
    return found


def _rows(records: Iterable[Sequence[Any]]) -> Counter[str]:
    return Counter(str(tuple(record)) for record in records)


def _differences(what: str, wanted: Counter[str], found: Counter[str]) -> list[str]:
    lacking, surplus = wanted - found, found - wanted
    return [f"{what}: lacks {each}" for each in lacking] + [f"{what}: has {each}" for each in surplus]


async def untold(connections: Connections, bootstrap_servers: str, topic_prefix: str) -> list[str]:
    """Where the events in Kafka are not one for each change that publishes one. Repeated ones, which bear the
    same id, count once."""
    identity_events = await _events(bootstrap_servers, topic_prefix + topics.IDENTITY_EVENTS, IdentityEvent)
    catalog_events = await _events(bootstrap_servers, topic_prefix + topics.CATALOG_EVENTS, CatalogEvent)
    told = {
        "project": _counted(e.project_changed.project_id for e in identity_events),
        "merchant": _counted(e.merchant_changed.merchant_id for e in identity_events),
        "consumer": _counted(e.consumer_changed.consumer_id for e in identity_events),
        "service": _counted(e.service_changed.service_id for e in catalog_events),
    }
    found = []
    for resource, actions in _TOLD_BY.items():
        records = await connections["identity"].fetch(
            "SELECT resource_id FROM audit.records WHERE resource = $1 AND action = ANY($2)",
            *(resource, list(actions)),
        )
        # Whoever registers is told of too, and audited as the user that they become.
        registered = await connections["identity"].fetch(
            "SELECT user_id::text FROM user_roles WHERE role = $1", resource
        )
        wanted = Counter(record[0] for record in [*records, *registered])
        found += _differences(f"events of a {resource}", wanted, told[resource])
    prices = await connections["catalog"].fetch("SELECT price_version_id::text FROM price_versions")
    found += _differences(
        "events of a price",
        Counter(record[0] for record in prices),
        _counted(e.price_version_changed.price_version_id for e in catalog_events),
    )
    ends = await read_values(bootstrap_servers, topic_prefix + topics.TOKEN_ENDS)
    kept = await connections["identity"].fetch("SELECT version::text FROM token_ends")
    told_ends = Counter({str(TokenEnd.FromString(value).version): 1 for value in ends})
    return found + _differences("ends of tokens", Counter(record[0] for record in kept), told_ends)


def _counted(ids: Iterable[str]) -> Counter[str]:
    """`""` is that of an event of another kind."""
    return Counter(filter(None, ids))


async def _events(bootstrap_servers: str, topic: str, kind: type[Any]) -> list[Any]:
    """Each once."""
    events = [kind.FromString(value) for value in await read_values(bootstrap_servers, topic)]
    return list({event.event_id: event for event in events}.values())


async def stale_snapshots(connections: Connections, system: RunningSystem) -> list[str]:
    """Which snapshots in Redis aren't those that a rebuild from the tables writes."""
    hashes = await connections["keys"].fetch(
        "SELECT key_hash FROM keys UNION ALL SELECT key_hash FROM previous_secrets"
    )
    names = await connections["catalog"].fetch(
        "SELECT service_id::text FROM services UNION ALL SELECT slug FROM services"
    )
    kinds: dict[str, type[Any]] = {key_snapshot_key(row[0]): KeySnapshot for row in hashes}
    kinds |= {service_snapshot_key(row[0]): ServiceSnapshot for row in names}
    async with Redis.from_url(system.programs["keys-svc"].environment["REDIS_URL"]) as redis:
        before = await _snapshots(redis, kinds)
        for name in ("keys-svc", "catalog-svc"):
            if said := await _run(system, name, "rebuild-snapshots"):
                return [said]
        after = await _snapshots(redis, kinds)
    return [
        f"{key} was {before.get(key)}, and is {after.get(key)}"
        for key in kinds
        if before.get(key) != after.get(key)
    ]


async def _snapshots(redis: Redis, kinds: Mapping[str, type[Any]]) -> dict[str, Any]:
    values = await redis.mget(list(kinds))
    snapshots = {
        key: kind.FromString(value)
        for (key, kind), value in zip(kinds.items(), values, strict=True)
        if value is not None
    }
    for snapshot in snapshots.values():
        # It opens nothing whatever changes afterwards: gateways aren't told of its later versions.
        if isinstance(snapshot, KeySnapshot) and snapshot.status == KEY_REVOKED:
            snapshot.ClearField("version")
    return snapshots


async def failed_checks(system: RunningSystem) -> list[str]:
    """What the services' own commands complain of."""
    said = [await _run(system, name, command) for name, command in _COMMANDS.items()]
    return [each for each in said if each]


async def _run(system: RunningSystem, name: str, command: str) -> str:
    """What a command of a service printed if it failed; "" if not."""
    program = system.programs[name]
    process = await asyncio.create_subprocess_exec(
        *(*program.command, command),
        env=dict(program.environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return "" if process.returncode == 0 else f"{name} {command}: {output.decode()[-2000:]}"
