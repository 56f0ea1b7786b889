"""The Kafka topics, made before anybody reads or writes them.

A consumer that starts before its topic exists learns of it seconds later, which on the very first run
would hold up the first events.
"""

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from ams_common import topics

PARTITIONS = 4
_DAY_MS = 24 * 3600 * 1000
# What tells of present state is kept for good, for a service may begin to read it years later. Nothing is
# compacted: a service's prices share its key. The rest is kept long enough to be read after a long outage.
RETENTION_MS = {topics.IDENTITY_EVENTS: -1, topics.CATALOG_EVENTS: -1}
_OTHER_RETENTION_MS = 60 * _DAY_MS


def names() -> list[str]:
    """Every topic that ams_common names."""
    return [value for name, value in vars(topics).items() if name.isupper() and isinstance(value, str)]


async def create_missing(bootstrap_servers: str, prefix: str = "") -> None:
    """Makes those that aren't there, with as many copies as the cluster allows, up to three."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        there = set(await admin.list_topics())
        missing = [name for name in names() if prefix + name not in there]
        brokers = (await admin.describe_cluster())["brokers"]
        copies = min(3, len(brokers))
        await admin.create_topics([_topic(prefix, name, copies) for name in missing])
    finally:
        await admin.close()


def _topic(prefix: str, name: str, copies: int) -> NewTopic:
    retention_ms = RETENTION_MS.get(name, _OTHER_RETENTION_MS)
    return NewTopic(prefix + name, PARTITIONS, copies, topic_configs={"retention.ms": str(retention_ms)})
