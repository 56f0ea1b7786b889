import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError
from ams.catalog.v1.events_pb2 import CatalogEvent, ServiceSnapshot
from ams_common import topics
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.outbox import Destination, KafkaDestination, OutboxRelay, RedisDestination
from ams_common.server import cancel
from ams_common.snapshots import INVALIDATION_CHANNEL, service_snapshot_key
from ams_common.testing.eventually import eventually
from redis.asyncio import Redis


@asynccontextmanager
async def relaying(database_url: str, *destinations: Destination) -> AsyncIterator[None]:
    tasks = [
        asyncio.create_task(OutboxRelay(database_url, destination).run()) for destination in destinations
    ]
    try:
        yield
    finally:
        await cancel(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def publish(database: Database, *event_ids: str) -> None:
    async with database.change_by_system("test", audited=False) as change:
        for event_id in event_ids:
            change.publish(topics.CATALOG_EVENTS, "one-subject", CatalogEvent(event_id=event_id))


async def outbox_is_empty(database: Database) -> bool:
    async with database.connection() as connection:
        return not await connection.fetchval("SELECT count(*) FROM outbox")


async def read_topic(bootstrap: str, topic: str, count: int) -> Sequence[str]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        return [CatalogEvent.FromString((await consumer.getone()).value).event_id for _ in range(count)]
    finally:
        await consumer.stop()


async def test_events_reach_kafka_in_the_order_of_their_commits(
    database: Database, database_url: str, kafka_bootstrap: str, topic_prefix: str
) -> None:
    ids = [f"e{number}" for number in range(1200)]
    await publish(database, *ids[:700])
    async with relaying(database_url, KafkaDestination(kafka_bootstrap, topic_prefix)):
        await publish(database, *ids[700:])
        await eventually(lambda: outbox_is_empty(database))
    assert await read_topic(kafka_bootstrap, topic_prefix + topics.CATALOG_EVENTS, len(ids)) == ids


async def test_of_two_relays_one_works_and_the_other_takes_over(
    database: Database, database_url: str, kafka_bootstrap: str, topic_prefix: str
) -> None:
    destinations = [KafkaDestination(kafka_bootstrap, topic_prefix) for _ in range(2)]
    async with relaying(database_url, destinations[1]):
        async with relaying(database_url, destinations[0]):
            await publish(database, "a", "b")
            await eventually(lambda: outbox_is_empty(database))
        await publish(database, "c")
        await eventually(lambda: outbox_is_empty(database))
    assert await read_topic(kafka_bootstrap, topic_prefix + topics.CATALOG_EVENTS, 3) == ["a", "b", "c"]


async def test_snapshots_reach_redis_and_are_made_known_though_kafka_is_away(
    database: Database, database_url: str, redis: Redis
) -> None:
    key = service_snapshot_key(uuid7())
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        kafka = KafkaDestination(f"127.0.0.1:{nobody.getsockname()[1]}")
        async with redis.pubsub() as news, relaying(database_url, RedisDestination(redis), kafka):
            await news.subscribe(INVALIDATION_CHANNEL)
            async with database.change_by_system("test", audited=False) as change:
                change.publish(topics.CATALOG_EVENTS, "s", CatalogEvent())
                change.snapshot(key, ServiceSnapshot(slug="old"))
                change.snapshot(key, ServiceSnapshot(slug="new"))

            async def is_known() -> bool:
                message = await news.get_message(ignore_subscribe_messages=True, timeout=0.1)
                return message is not None and message["data"] == key.encode()

            await eventually(is_known)
            stored = await redis.get(key)
            assert isinstance(stored, bytes)
            assert ServiceSnapshot.FromString(stored).slug == "new"
            assert 0 < await redis.ttl(key) <= 7 * 24 * 3600


async def test_a_lost_database_connection_is_made_anew(
    database: Database, database_url: str, admin_database_url: str, kafka_bootstrap: str, topic_prefix: str
) -> None:
    async with relaying(database_url, KafkaDestination(kafka_bootstrap, topic_prefix)):
        await publish(database, "a")
        await eventually(lambda: outbox_is_empty(database))
        admin = await asyncpg.connect(admin_database_url)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
            database_url.rpartition("/")[2],
        )
        await admin.close()
        await eventually(lambda: _publishes(database))
        await eventually(lambda: outbox_is_empty(database))
    assert await read_topic(kafka_bootstrap, topic_prefix + topics.CATALOG_EVENTS, 2) == ["a", "b"]


async def _publishes(database: Database) -> bool:
    try:
        await publish(database, "b")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        return False
    return True


async def sessions_after_a_turn(
    admin: asyncpg.Connection, database_url: str, holder: asyncpg.Connection
) -> list[asyncpg.Record]:
    """Those that asked last for the turn that `holder` has."""
    rows: list[asyncpg.Record] = await admin.fetch(
        "SELECT query_start FROM pg_stat_activity"
        " WHERE datname = $1 AND pid <> $2 AND query LIKE '%advisory_lock%'",
        database_url.rpartition("/")[2],
        holder.get_server_pid(),
    )
    return rows


async def test_a_relay_that_waits_for_its_turn_keeps_no_vacuum_from_its_work(
    database: Database, database_url: str, admin_database_url: str, redis: Redis
) -> None:
    async with connected(admin_database_url) as admin, database.connection() as holder:
        await holder.execute("SELECT pg_advisory_lock(7310002, hashtext(current_schema() || 'redis'))")
        asked_at: set[datetime] = set()

        async def asks_again_and_again() -> bool:
            """Between two times it is in no statement, and so holds no snapshot."""
            for session in await sessions_after_a_turn(admin, database_url, holder):
                asked_at.add(session["query_start"])
            return len(asked_at) > 3

        async with relaying(database_url, RedisDestination(redis)):
            await eventually(asks_again_and_again)


class LosesItsTurn:
    """A destination that is away; while it is tried, the relay's session ends and another gets the turn."""

    name = "redis"

    def __init__(self, admin_url: str, database_url: str, successor: asyncpg.Connection) -> None:
        self._admin_url = admin_url
        self._database_url = database_url
        self._successor = successor
        self.tries = 0

    async def deliver(self, rows: Sequence[asyncpg.Record]) -> None:
        self.tries += 1
        if self.tries == 1:
            async with connected(self._admin_url) as admin:
                await admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> $2",
                    self._database_url.rpartition("/")[2],
                    self._successor.get_server_pid(),
                )
            await self._successor.execute(
                "SELECT pg_advisory_lock(7310002, hashtext(current_schema() || 'redis'))"
            )
        raise OSError("away")

    async def close(self) -> None:
        pass


async def test_a_relay_that_has_lost_its_turn_delivers_nothing_more(
    database: Database, database_url: str, admin_database_url: str
) -> None:
    """Its rows are older than what its successor delivers: an old snapshot would replace a newer one."""
    async with database.change_by_system("test", audited=False) as change:
        change.snapshot("ams:service:s", ServiceSnapshot(slug="old"))
    async with connected(admin_database_url) as admin, connected(database_url) as successor:
        destination = LosesItsTurn(admin_database_url, database_url, successor)

        async def has_gone_on() -> bool:
            sessions = await sessions_after_a_turn(admin, database_url, successor)
            return destination.tries > 1 or (destination.tries == 1 and bool(sessions))

        async with relaying(database_url, destination):
            await eventually(has_gone_on)
    assert destination.tries == 1


class CountsRefusals(KafkaDestination):
    refusals = 0

    async def deliver(self, rows: Sequence[asyncpg.Record]) -> None:
        try:
            await super().deliver(rows)
        except MessageSizeTooLargeError:
            self.refusals += 1
            raise


async def test_events_go_on_after_the_broker_has_refused_one(
    database: Database, database_url: str, kafka_bootstrap: str, topic_prefix: str
) -> None:
    """A producer that has failed numbers its messages wrong, and the broker refuses them ever after."""
    topic = topic_prefix + topics.CATALOG_EVENTS
    kafka = CountsRefusals(kafka_bootstrap, topic_prefix)

    async def is_refused() -> bool:
        return kafka.refusals > 0

    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"max.message.bytes": "1000"})])
        async with relaying(database_url, kafka):
            await publish(database, "a")
            await eventually(lambda: outbox_is_empty(database))
            await publish(database, "b" * 2000)
            await eventually(is_refused)
            larger = ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": "1000000"})
            await admin.alter_configs([larger])
            await eventually(lambda: outbox_is_empty(database))
    finally:
        await admin.close()
