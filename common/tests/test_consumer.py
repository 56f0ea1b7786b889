import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.errors import TopicAlreadyExistsError
from ams.catalog.v1.events_pb2 import CatalogEvent
from ams_common import metrics, topics
from ams_common.consumer import EventConsumer, Subscription
from ams_common.database import Change, Database
from ams_common.queries import QueryStore
from ams_common.server import cancel
from ams_common.testing.eventually import eventually

_WAITING = "ams_dead_letters_waiting "


async def write_effect(change: Change, messages: Sequence[CatalogEvent]) -> None:
    """The effect under test: one row a message, in a table that any service has."""
    for message in messages:
        if message.event_id == "bad":
            raise ValueError("can't be processed")
        await change.connection.execute(
            "INSERT INTO outbox (destination, topic, message_key, payload) VALUES ('redis', $1, '', '')",
            message.event_id,
        )


async def effects(database: Database) -> list[str]:
    async with database.connection() as connection:
        return [row["topic"] for row in await connection.fetch("SELECT topic FROM outbox ORDER BY outbox_id")]


async def dead_letters(database: Database) -> list[str]:
    async with database.connection() as connection:
        return [row["error"] for row in await connection.fetch("SELECT error FROM dead_letters ORDER BY 1")]


@pytest.fixture
def consumer(database: Database, kafka_bootstrap: str, topic_prefix: str) -> EventConsumer:
    subscription = Subscription(topics.CATALOG_EVENTS, CatalogEvent, write_effect)
    return EventConsumer(database, kafka_bootstrap, "test", [subscription], topic_prefix)


@pytest.fixture
async def producer(kafka_bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
    await producer.start()
    yield producer
    await producer.stop()


@asynccontextmanager
async def running(*consumers: EventConsumer) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(consumer.run()) for consumer in consumers]
    try:
        yield
    finally:
        await cancel(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)


async def send(producer: AIOKafkaProducer, topic: str, *event_ids: str) -> None:
    for event_id in event_ids:
        await producer.send_and_wait(topic, CatalogEvent(event_id=event_id).SerializeToString(), key=b"one")


async def test_each_message_takes_effect_once_across_restarts(
    consumer: EventConsumer, producer: AIOKafkaProducer, database: Database, topic_prefix: str
) -> None:
    topic = topic_prefix + topics.CATALOG_EVENTS
    sent: list[str] = []
    for round_number in range(3):
        ids = [f"{round_number}-{number}" for number in range(20)]
        await send(producer, topic, *ids)
        sent += ids
        async with running(consumer):
            await eventually(partial(_are, database, sent))


async def _are(database: Database, expected: list[str]) -> bool:
    return await effects(database) == expected


async def test_a_bad_message_is_dead_lettered_and_the_rest_go_on_in_order(
    consumer: EventConsumer, producer: AIOKafkaProducer, database: Database, topic_prefix: str
) -> None:
    topic = topic_prefix + topics.CATALOG_EVENTS
    await send(producer, topic, "a", "bad", "b")
    await producer.send_and_wait(topic, b"\xff\xff\xff", key=b"one")
    await send(producer, topic, "c")
    async with running(consumer):
        await eventually(lambda: _are(database, ["a", "b", "c"]))
    errors = await dead_letters(database)
    assert len(errors) == 2
    assert any("can't be processed" in error for error in errors)


async def test_operators_see_how_many_dead_letters_wait(
    consumer: EventConsumer, producer: AIOKafkaProducer, database: Database, topic_prefix: str
) -> None:
    async def seen() -> str:
        await consumer.dead_letters.count_waiting()
        [line] = [line for line in metrics.render().decode().splitlines() if line.startswith(_WAITING)]
        return line.removeprefix(_WAITING)

    assert await seen() == "0.0"
    await send(producer, topic_prefix + topics.CATALOG_EVENTS, "bad", "a", "bad", "b")
    async with running(consumer):
        await eventually(partial(_are, database, ["a", "b"]))
    assert await seen() == "2.0"
    async with database.connection() as connection:
        await connection.execute("UPDATE dead_letters SET status = 'dismissed', decided_at = now()")
    assert await seen() == "0.0"


async def test_two_consumers_of_a_group_share_without_doubling(
    consumer: EventConsumer,
    producer: AIOKafkaProducer,
    database: Database,
    kafka_bootstrap: str,
    topic_prefix: str,
) -> None:
    topic = topic_prefix + topics.CATALOG_EVENTS
    subscription = Subscription(topics.CATALOG_EVENTS, CatalogEvent, write_effect)
    second = EventConsumer(database, kafka_bootstrap, "test", [subscription], topic_prefix)
    ids = [f"e{number}" for number in range(300)]

    async def send_all() -> None:
        for event_id in ids:
            message = CatalogEvent(event_id=event_id).SerializeToString()
            await producer.send_and_wait(topic, message, key=event_id.encode())

    async def all_there() -> bool:
        return len(await effects(database)) >= len(ids)

    async with running(consumer):
        sending = asyncio.create_task(send_all())
        async with running(second):  # joins in the middle, and leaves again: two rebalances
            await asyncio.wait([sending], timeout=2)
        await sending
        await eventually(all_there, timeout_s=30)
    assert sorted(await effects(database)) == sorted(ids)


async def test_a_topic_made_anew_is_read_from_its_beginning(
    consumer: EventConsumer, producer: AIOKafkaProducer, database: Database, topic_prefix: str
) -> None:
    topic = topic_prefix + topics.CATALOG_EVENTS
    await send(producer, topic, "a")
    partitions = await producer.partitions_for(topic)
    async with database.change_by_system("test", audited=False) as change:
        for partition in partitions:
            await change.connection.execute(
                "INSERT INTO consumer_offsets VALUES ($1, $2, 1000)", topic, partition
            )
    async with running(consumer):
        await eventually(lambda: _are(database, ["a"]))


async def test_a_database_fault_at_a_rebalance_makes_the_consumer_start_again(
    producer: AIOKafkaProducer,
    database: Database,
    database_url: str,
    kafka_bootstrap: str,
    topic_prefix: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Kafka's client would go on from the topic's beginning, without a word: here past every message."""
    topic = topic_prefix + topics.CATALOG_EVENTS
    await send(producer, topic, "a")

    async def has_failed() -> bool:
        return "test waits" in caplog.text or "User provided listener" in caplog.text

    async with asyncpg.create_pool(database_url, min_size=0, command_timeout=0.3) as impatient:
        subscription = Subscription(topics.CATALOG_EVENTS, CatalogEvent, write_effect)
        consumer = EventConsumer(
            Database(impatient, QueryStore), kafka_bootstrap, "test", [subscription], topic_prefix
        )
        async with database.change_by_system("test", audited=False) as change:
            for partition in await producer.partitions_for(topic):
                await change.connection.execute(
                    "INSERT INTO consumer_offsets VALUES ($1, $2, 1000)", topic, partition
                )
        async with running(consumer):
            async with database.change_by_system("test", audited=False) as change:
                await change.connection.execute("LOCK TABLE consumer_offsets")
                await eventually(has_failed)
            await eventually(lambda: _are(database, ["a"]))


async def test_a_bad_message_of_a_topic_made_anew_is_kept_beside_the_old_ones(
    consumer: EventConsumer, producer: AIOKafkaProducer, database: Database, topic_prefix: str
) -> None:
    topic = topic_prefix + topics.CATALOG_EVENTS
    await send(producer, topic, "bad", "a")
    partitions = list(await producer.partitions_for(topic))
    async with database.change_by_system("test", audited=False) as change:
        await change.connection.execute(
            "INSERT INTO dead_letters (topic, partition, message_offset, payload, error)"
            " SELECT $1, p, 0, $3, 'old' FROM unnest($2::integer[]) AS p",
            topic,
            partitions,
            CatalogEvent(event_id="bad").SerializeToString(),
        )
    async with running(consumer):
        await eventually(lambda: _are(database, ["a"]))
    assert len(await dead_letters(database)) == len(partitions) + 1


async def test_messages_that_kafka_dropped_unread_raise_an_alarm(
    consumer: EventConsumer,
    producer: AIOKafkaProducer,
    database: Database,
    kafka_bootstrap: str,
    topic_prefix: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic = topic_prefix + topics.CATALOG_EVENTS
    await send(producer, topic, "a", "b")
    last = await producer.send_and_wait(topic, CatalogEvent(event_id="c").SerializeToString(), key=b"one")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    try:
        dropped = {TopicPartition(topic, last.partition): RecordsToDelete(before_offset=last.offset)}
        await admin.delete_records(dropped)
    finally:
        await admin.close()
    async with running(consumer):
        await eventually(lambda: _are(database, ["c"]))
    # Told again when the partition is assigned once more before its first batch is in.
    alarms = [vars(record) for record in caplog.records if record.levelno == logging.CRITICAL]
    assert {(alarm["topic"], alarm["messages"]) for alarm in alarms} == {(topic, 2)}


async def test_a_connection_that_ends_in_mid_use_makes_no_dead_letter(
    producer: AIOKafkaProducer, database: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    """What asyncpg raises when the server's farewell has been read and the connection's end hasn't."""
    faults = 3

    async def fail_first(change: Change, messages: Sequence[CatalogEvent]) -> None:
        nonlocal faults
        if faults:
            faults -= 1
            raise asyncpg.InternalClientError("cannot switch to state 15; another operation is in progress")
        await write_effect(change, messages)

    await send(producer, topic_prefix + topics.CATALOG_EVENTS, "a")
    subscription = Subscription(topics.CATALOG_EVENTS, CatalogEvent, fail_first)
    async with running(EventConsumer(database, kafka_bootstrap, "test", [subscription], topic_prefix)):
        await eventually(lambda: _are(database, ["a"]))
    assert await dead_letters(database) == []


async def _offsets_of(database: Database) -> set[tuple[str | None, int]]:
    async with database.connection() as connection:
        return {
            (row[0], row[1])
            for row in await connection.fetch("SELECT incarnation, next_offset FROM consumer_offsets")
        }


async def test_a_topic_made_anew_while_its_reader_was_away_is_read_from_its_beginning(
    consumer: EventConsumer,
    producer: AIOKafkaProducer,
    database: Database,
    kafka_bootstrap: str,
    topic_prefix: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The new topic is longer than the old one was: the offset by itself would hide it."""
    topic = topic_prefix + topics.CATALOG_EVENTS
    await send(producer, topic, "a", "b")
    async with running(consumer):
        await eventually(lambda: _are(database, ["a", "b"]))
    before = {incarnation for incarnation, _ in await _offsets_of(database)}
    await _make_anew(kafka_bootstrap, topic)
    await send(producer, topic, "c", "d", "e")
    async with running(consumer):
        await eventually(lambda: _are(database, ["a", "b", "c", "d", "e"]))
    after = {incarnation for incarnation, _ in await _offsets_of(database)}
    assert len(before) == len(after) == 1
    assert before != after
    assert "topic was made anew" in caplog.text


async def test_a_topic_made_anew_under_its_reader_is_read_from_its_beginning(
    consumer: EventConsumer,
    producer: AIOKafkaProducer,
    database: Database,
    kafka_bootstrap: str,
    topic_prefix: str,
) -> None:
    topic = topic_prefix + topics.CATALOG_EVENTS
    await send(producer, topic, "a", "b")
    async with running(consumer):
        await eventually(lambda: _are(database, ["a", "b"]))
        await _make_anew(kafka_bootstrap, topic)
        await send(producer, topic, "c", "d", "e")
        await eventually(lambda: _are(database, ["a", "b", "c", "d", "e"]))


async def _make_anew(kafka_bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    try:
        (described,) = await admin.describe_topics([topic])
        await admin.delete_topics([topic])

        async def is_made() -> bool:
            made = await admin.create_topics([NewTopic(topic, len(described["partitions"]), 1)])
            # A reader that asks for the topic meanwhile has it made by Kafka.
            return all(error in (0, TopicAlreadyExistsError.errno) for _, error, *_ in made.topic_errors)

        await eventually(is_made)
    finally:
        await admin.close()


async def test_one_bad_message_of_many_costs_few_transactions(
    producer: AIOKafkaProducer, database: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    calls = 0

    async def count_calls(change: Change, messages: Sequence[CatalogEvent]) -> None:
        nonlocal calls
        calls += 1
        await write_effect(change, messages)

    topic = topic_prefix + topics.CATALOG_EVENTS
    ids = [f"e{number:03}" for number in range(200)]
    await asyncio.gather(
        *[
            await producer.send(topic, CatalogEvent(event_id=each).SerializeToString(), key=b"one")
            for each in [*ids[:123], "bad", *ids[123:]]
        ]
    )
    subscription = Subscription(topics.CATALOG_EVENTS, CatalogEvent, count_calls)
    async with running(EventConsumer(database, kafka_bootstrap, "test", [subscription], topic_prefix)):
        await eventually(lambda: _are(database, ids))
    assert len(await dead_letters(database)) == 1
    assert calls <= 30


async def test_a_batch_that_takes_too_long_is_taken_in_smaller_ones(
    producer: AIOKafkaProducer, database: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    largest = 0

    async def manage_ten(change: Change, messages: Sequence[CatalogEvent]) -> None:
        nonlocal largest
        if len(messages) > 10:
            raise TimeoutError("the statement was not done in time")
        largest = max(largest, len(messages))
        await write_effect(change, messages)

    topic = topic_prefix + topics.CATALOG_EVENTS
    ids = [f"e{number:03}" for number in range(100)]
    await asyncio.gather(
        *[
            await producer.send(topic, CatalogEvent(event_id=each).SerializeToString(), key=b"one")
            for each in ids
        ]
    )
    subscription = Subscription(topics.CATALOG_EVENTS, CatalogEvent, manage_ten)
    async with running(EventConsumer(database, kafka_bootstrap, "test", [subscription], topic_prefix)):
        await eventually(lambda: _are(database, ids))
    assert 1 < largest <= 10
    assert await dead_letters(database) == []


async def test_what_another_release_could_not_apply_is_tried_again_when_this_one_starts(
    consumer: EventConsumer, producer: AIOKafkaProducer, database: Database, topic_prefix: str
) -> None:
    topic = topic_prefix + topics.CATALOG_EVENTS
    async with database.change_by_system("test", audited=False) as change:
        for event_id, release in (("a", "older"), ("bad", "older"), ("given up", "older")):
            await change.connection.execute(
                "INSERT INTO dead_letters (topic, partition, message_offset, payload, error, release)"
                " VALUES ($1, 0, 0, $2, 'unknown outcome', $3)",
                topic,
                CatalogEvent(event_id=event_id).SerializeToString(),
                release,
            )
        await change.connection.execute(
            "UPDATE dead_letters SET status = 'dismissed', decided_at = now()"
            " WHERE payload LIKE '%given up%'::bytea"
        )
    await send(producer, topic, "b")
    for _ in range(2):
        async with running(consumer):
            await eventually(lambda: _are(database, ["a", "b"]))
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT status, release <> 'older' FROM dead_letters ORDER BY status")
    assert [tuple(row) for row in rows] == [("dismissed", False), ("replayed", False), ("waiting", True)]
