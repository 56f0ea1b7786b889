"""The topics are there before the services are."""

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from ams_local import topics


async def test_missing_topics_are_made_and_those_there_stay(kafka_bootstrap: str) -> None:
    await topics.create_missing(kafka_bootstrap)
    await topics.create_missing(kafka_bootstrap)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    try:
        described = await admin.describe_topics(topics.names())
        configured = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, "identity.events")]
        )
    finally:
        await admin.close()
    partitions = {topic["topic"]: len(topic["partitions"]) for topic in described}
    assert "usage.events" in partitions
    assert set(partitions) == set(topics.names())
    assert set(partitions.values()) == {topics.PARTITIONS}
    # What tells of present state is kept for good.
    assert ("retention.ms", "-1") in [entry[:2] for entry in configured[0].resources[0][4]]
