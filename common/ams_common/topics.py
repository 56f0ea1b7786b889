"""The Kafka topics. All messages are protobuf; the type of each stands beside its name."""

from collections.abc import Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

USAGE_EVENTS = "usage.events"  # ams.usage.v1.UsageEventBatch
USAGE_AGGREGATED = "usage.aggregated"  # ams.usage.v1.UsageTotalBatch
USAGE_FORWARDED = "usage.forwarded"  # ams.usage.v1.ForwardedTotal
NOTIFICATIONS = "notifications"  # ams.identity.v1.Notification
IDENTITY_EVENTS = "identity.events"  # ams.identity.v1.IdentityEvent
TOKEN_ENDS = "identity.token_ends"  # noqa: S105 - ams.identity.v1.TokenEnd
CATALOG_EVENTS = "catalog.events"  # ams.catalog.v1.CatalogEvent
REGISTRY_EVENTS = "registry.events"  # ams.registry.v1.RegistryEvent
AUDIT_EVENTS = "audit.events"  # ams.audit.v1.AuditRecord

PARTITIONS = 4
_IN_SYNC = "min.insync.replicas"
# Kafka's number for a setting that is the topic's own, not the broker's or Kafka's default.
_OF_TOPIC = 1
_FOR_GOOD_MS = -1
# Long enough to be read after a long outage.
_SIXTY_DAYS_MS = 60 * 24 * 3600 * 1000
# What nobody asks for any more after ten minutes: access tokens have run out by then.
_A_DAY_MS = 24 * 3600 * 1000
# What tells of present state is kept for good, for a service may begin to read it years later. Nothing is
# compacted: a service's prices share its key.
RETENTION_MS: Mapping[str, int] = {
    USAGE_EVENTS: _SIXTY_DAYS_MS,
    USAGE_AGGREGATED: _SIXTY_DAYS_MS,
    USAGE_FORWARDED: _SIXTY_DAYS_MS,
    NOTIFICATIONS: _SIXTY_DAYS_MS,
    IDENTITY_EVENTS: _FOR_GOOD_MS,
    TOKEN_ENDS: _A_DAY_MS,
    CATALOG_EVENTS: _FOR_GOOD_MS,
    REGISTRY_EVENTS: _SIXTY_DAYS_MS,
    AUDIT_EVENTS: _SIXTY_DAYS_MS,
}


async def create_missing(bootstrap_servers: str, prefix: str = "") -> None:
    """Makes those that aren't there, with as many copies as the cluster allows, up to three.

    Before anybody reads or writes them: a topic that Kafka makes by itself keeps its messages for a week,
    and a consumer that starts before its topic exists learns of it seconds later.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        there = set(await admin.list_topics())
        brokers = (await admin.describe_cluster())["brokers"]
        copies = min(3, len(brokers))
        missing = [name for name in RETENTION_MS if prefix + name not in there]
        await admin.create_topics([_topic(prefix, name, copies) for name in missing])
    finally:
        await admin.close()


async def correct_in_sync_copies(bootstrap_servers: str, prefix: str = "") -> list[str]:
    """Sets how many copies must have a message, on topics where that isn't as `create_missing` sets it: an
    earlier release or Kafka itself has made them, or they have got more copies since. Other settings stay.

    Returns the names of the topics that were changed. Raises BrokerResponseError where Kafka refuses.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        there = set(await admin.list_topics())
        names = [prefix + name for name in RETENTION_MS if prefix + name in there]
        described = await admin.describe_topics(names) if names else []
        copies = {
            topic["topic"]: min(len(partition["replicas"]) for partition in topic["partitions"])
            for topic in described
        }
        # Whatever isn't sent again goes back to its default.
        settings = {name: await _own_settings(admin, name) for name in copies}
        wanted = {name: str(in_sync_copies(count)) for name, count in copies.items()}
        changed = [name for name in copies if settings[name].get(_IN_SYNC) != wanted[name]]
        for name in changed:
            whole = {**settings[name], _IN_SYNC: wanted[name]}
            [answer] = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, whole)])
            _check(answer)
    finally:
        await admin.close()
    return changed


async def _own_settings(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    [resource] = _check(answer)
    return {
        entry["config_names"]: entry["config_value"]
        for entry in resource["config_entries"]
        if entry["config_source"] == _OF_TOPIC
    }


def _check(answer: Any) -> list[dict[str, Any]]:
    """What an answer about settings says of each resource. Raises BrokerResponseError."""
    resources: list[dict[str, Any]] = answer.to_object()["resources"]
    for resource in resources:
        if resource["error_code"]:
            raise for_code(resource["error_code"])(resource["error_message"])
    return resources


def _topic(prefix: str, name: str, copies: int) -> NewTopic:
    configs = {
        "retention.ms": str(RETENTION_MS[name]),
        # Of three copies one may be away, and what is acknowledged outlives the loss of another. Of fewer
        # none could be away, so one has to do.
        _IN_SYNC: str(in_sync_copies(copies)),
    }
    return NewTopic(prefix + name, PARTITIONS, copies, topic_configs=configs)


def in_sync_copies(copies: int) -> int:
    """How many copies must have a message before it is acknowledged."""
    return 2 if copies >= 3 else 1
