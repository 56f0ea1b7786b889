"""The topics are there before the services are, and keep what they must."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from ams_common import topics


def test_every_topic_says_how_long_it_is_kept() -> None:
    named = {
        value
        for name, value in vars(topics).items()
        if name.isupper() and not name.startswith("_") and isinstance(value, str)
    }
    assert named == set(topics.RETENTION_MS)


def test_what_is_acknowledged_outlives_a_broker_where_there_are_three() -> None:
    assert [topics.in_sync_copies(copies) for copies in (1, 2, 3)] == [1, 1, 2]


async def test_missing_topics_are_made_and_those_there_stay(kafka_bootstrap: str, topic_prefix: str) -> None:
    await topics.create_missing(kafka_bootstrap, topic_prefix)
    await topics.create_missing(kafka_bootstrap, topic_prefix)
    names = [topic_prefix + name for name in topics.RETENTION_MS]
    async with _admin(kafka_bootstrap) as admin:
        described = await admin.describe_topics(names)
        settings = await _settings(admin, topic_prefix + topics.IDENTITY_EVENTS)
    partitions = {topic["topic"]: len(topic["partitions"]) for topic in described}
    assert set(partitions) == set(names)
    assert set(partitions.values()) == {topics.PARTITIONS}
    # What tells of present state is kept for good.
    assert settings["retention.ms"] == "-1"
    assert settings["min.insync.replicas"] == "1"
    assert await topics.correct_in_sync_copies(kafka_bootstrap, topic_prefix) == []


async def test_topics_that_were_there_get_the_copies_that_they_can_have(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    """Of one copy two can't be in sync: nothing could be written. What else was set stays so."""
    strict, by_default = topic_prefix + topics.USAGE_EVENTS, topic_prefix + topics.AUDIT_EVENTS
    own = {"retention.ms": "123456789", "max.message.bytes": "777777", "min.insync.replicas": "2"}
    async with _admin(kafka_bootstrap) as admin:
        await admin.create_topics([NewTopic(strict, 3, 1, topic_configs=own), NewTopic(by_default, 1, 1)])
        await topics.create_missing(kafka_bootstrap, topic_prefix)
        changed = await topics.correct_in_sync_copies(kafka_bootstrap, topic_prefix)
        assert set(changed) == {strict, by_default}
        settings = await _settings(admin, strict)
        assert {name: settings[name] for name in own} == {**own, "min.insync.replicas": "1"}
        assert (await _settings(admin, by_default))["min.insync.replicas"] == "1"
    assert await topics.correct_in_sync_copies(kafka_bootstrap, topic_prefix) == []
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, acks="all") as producer:
        await producer.send_and_wait(strict, b"written")


@asynccontextmanager
async def _admin(kafka_bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def _settings(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    """In force, wherever they come from."""
    [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    return {entry[0]: entry[1] for entry in answer.resources[0][4]}
