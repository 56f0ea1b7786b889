"""The topics are there before the services are, and keep what they must."""

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from ams_common import topics


def test_every_topic_says_how_long_it_is_kept() -> None:
    named = {value for name, value in vars(topics).items() if name.isupper() and isinstance(value, str)}
    assert named == set(topics.RETENTION_MS)


def test_what_is_acknowledged_outlives_a_broker_where_there_are_three() -> None:
    assert [topics.in_sync_copies(copies) for copies in (1, 2, 3)] == [1, 1, 2]


async def test_missing_topics_are_made_and_those_there_stay(kafka_bootstrap: str, topic_prefix: str) -> None:
    await topics.create_missing(kafka_bootstrap, topic_prefix)
    await topics.create_missing(kafka_bootstrap, topic_prefix)
    names = [topic_prefix + name for name in topics.RETENTION_MS]
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    try:
        described = await admin.describe_topics(names)
        configured = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic_prefix + topics.IDENTITY_EVENTS)]
        )
    finally:
        await admin.close()
    partitions = {topic["topic"]: len(topic["partitions"]) for topic in described}
    assert set(partitions) == set(names)
    assert set(partitions.values()) == {topics.PARTITIONS}
    settings = [entry[:2] for entry in configured[0].resources[0][4]]
    # What tells of present state is kept for good.
    assert ("retention.ms", "-1") in settings
    assert ("min.insync.replicas", "1") in settings
