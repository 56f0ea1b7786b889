import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from ams.audit.v1.events_pb2 import AuditRecord
from ams.identity.v1 import identity_service_pb2 as pb
from ams_common import topics
from ams_common.clock import to_timestamp
from ams_common.consumer import EventConsumer, Subscription
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.outbox import KafkaDestination, OutboxRelay
from ams_common.testing.eventually import eventually
from identity_svc.event_handlers import store_audit_records

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def record(minutes: int = 0, **values: Any) -> AuditRecord:
    defaults = {"actor": "system", "action": "key.revoke", "resource": "key", "resource_id": "k-1"}
    return AuditRecord(
        audit_id=str(uuid7()),
        occurred_at=to_timestamp(NOON + timedelta(minutes=minutes)),
        **(defaults | values),
    )


@pytest.fixture
def keep(servicer: Any) -> Any:
    """Stores records as the event consumer does."""

    async def keep(*records: AuditRecord) -> None:
        async with servicer.database.change_by_system("test", audited=False) as change:
            await store_audit_records(change, records)

    return keep


@pytest.fixture
def listed(identity: Any) -> Any:
    async def listed(**filters: Any) -> Any:
        request = pb.ListAuditRecordsRequest(**filters)
        return await identity.stub.ListAuditRecords(request, metadata=identity.admin)

    return listed


async def test_records_are_listed_newest_first_whatever_order_they_came_in(keep: Any, listed: Any) -> None:
    records = [record(minutes, details={"n": str(minutes)}, request_id="r") for minutes in (2, 1, 3)]
    await keep(*records)
    assert list((await listed()).audit_records) == [records[2], records[0], records[1]]


async def test_the_list_goes_on_page_by_page(keep: Any, listed: Any) -> None:
    records = [record(minutes) for minutes in range(5)]
    await keep(*records)
    seen, token = [], ""
    while True:
        page = await listed(page_size=2, page_token=token)
        seen += page.audit_records
        if not (token := page.next_page_token):
            break
    assert seen == records[::-1]


async def test_filters_narrow_the_list_together(keep: Any, listed: Any) -> None:
    mine = record(1, actor="u-1", resource_id="k-9")
    await keep(mine, record(2, actor="u-1"), record(3, resource_id="k-9"), record(4, action="service.create"))
    assert len((await listed(actor="u-1")).audit_records) == 2
    assert len((await listed(action="service.create")).audit_records) == 1
    assert list((await listed(actor="u-1", resource_id="k-9")).audit_records) == [mine]
    assert not (await listed(actor="nobody")).audit_records


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit.records SET actor = ''",
        "DELETE FROM audit.records",
        "TRUNCATE audit.records",
        "DROP TABLE audit.records",
        "DROP SCHEMA audit CASCADE",
        "ALTER TABLE audit.records DISABLE TRIGGER chain_record",
        "UPDATE audit.head SET position = 0",
        "INSERT INTO audit.purges (position, record_hash) VALUES (1, '')",
        "INSERT INTO audit.records (position) VALUES (9)",
        "SELECT audit.purge_records(now() - interval '179 days', 10)",
        "CREATE TABLE audit.intruder ()",
        "CREATE FUNCTION audit.canonical(text) RETURNS bytea LANGUAGE sql RETURN ''::bytea",
    ],
)
async def test_records_can_neither_be_changed_nor_deleted(
    database: Database, keep: Any, listed: Any, statement: str
) -> None:
    kept = record()
    await keep(kept)
    async with database.connection() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    assert list((await listed()).audit_records) == [kept]


@asynccontextmanager
async def running(*work: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each.run()) for each in work]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def make_reader(servicer: Any, kafka_bootstrap: str, topic_prefix: str) -> Any:
    def make() -> EventConsumer:
        subscriptions = [Subscription(topics.AUDIT_EVENTS, AuditRecord, store_audit_records)]
        return EventConsumer(servicer.database, kafka_bootstrap, "identity-svc", subscriptions, topic_prefix)

    return make


@pytest.fixture
async def send(kafka_bootstrap: str, topic_prefix: str) -> AsyncIterator[Any]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
    await producer.start()

    async def send(*payloads: bytes) -> None:
        for payload in payloads:
            await producer.send_and_wait(topic_prefix + topics.AUDIT_EVENTS, payload, key=b"k")

    yield send
    await producer.stop()


async def test_a_record_that_comes_twice_and_across_a_restart_is_kept_once(
    send: Any, make_reader: Any, listed: Any
) -> None:
    first, second = record(1), record(2)

    async def has(*expected: AuditRecord) -> bool:
        return list((await listed()).audit_records) == list(expected)

    await send(first.SerializeToString(), first.SerializeToString())
    async with running(make_reader()):
        await eventually(lambda: has(first))
    await send(first.SerializeToString(), second.SerializeToString())
    async with running(make_reader()):
        await eventually(lambda: has(second, first))


async def test_a_malformed_message_is_put_aside_and_the_next_is_kept(
    send: Any, make_reader: Any, listed: Any, database: Database
) -> None:
    good = record()
    no_id = AuditRecord(audit_id="not-an-id", action="x")
    nul = record(actor="a\x00b")
    await send(b"\xff\xff", no_id.SerializeToString(), nul.SerializeToString(), good.SerializeToString())

    async def has_good() -> bool:
        return list((await listed()).audit_records) == [good]

    async with running(make_reader()):
        await eventually(has_good)
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM dead_letters") == 3


async def test_what_this_service_does_goes_through_kafka_into_the_log(
    identity: Any, database_url: str, kafka_bootstrap: str, topic_prefix: str, make_reader: Any, listed: Any
) -> None:
    await identity.invite("mia@example.com")
    relay = OutboxRelay(database_url, KafkaDestination(kafka_bootstrap, topic_prefix))

    async def stored() -> list[str]:
        return [each.action for each in (await listed(action="invite.create")).audit_records]

    async with running(relay, make_reader()):
        assert await eventually(stored) == ["invite.create"]
