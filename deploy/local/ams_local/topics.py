"""The Kafka topics, made before anybody reads or writes them.

A consumer that starts before its topic exists learns of it seconds later, which on the very first run
would hold up the first events.
"""

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from ams_common import topics

PARTITIONS = 4


def names() -> list[str]:
    """Every topic that ams_common names."""
    return [value for name, value in vars(topics).items() if name.isupper() and isinstance(value, str)]


async def create_missing(bootstrap_servers: str, prefix: str = "") -> None:
    """Makes those that aren't there, with as many copies as the cluster allows, up to three."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        wanted = {prefix + name for name in names()}
        missing = sorted(wanted - set(await admin.list_topics()))
        brokers = (await admin.describe_cluster())["brokers"]
        copies = min(3, len(brokers))
        await admin.create_topics([NewTopic(name, PARTITIONS, copies) for name in missing])
    finally:
        await admin.close()
