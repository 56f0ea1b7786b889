"""Each pull is metered once, and told of as forwarded: none can be lost without a trace."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.keys.v1.events_pb2 import KeySnapshot
from ams.usage.v1.events_pb2 import ForwardedTotal, UsageEvent
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.migrations import migrations_of
from registry_svc.auth.access_tokens import Access
from registry_svc.auth.authorizer import PullGrant
from registry_svc.auth.principals import Puller
from registry_svc.images.pulls import PullRecorder
from registry_svc.storage.rows import Image
from registry_svc.storage.store import Store

COUNTS = "registry_svc/0031_pull_totals.sql"
MERCHANT, CONSUMER, OTHER = (UUID(int=number) for number in range(1, 4))


@pytest.fixture
async def image(shelf: Any) -> Image:
    made: Image = await shelf.image(await shelf.token(uuid7()))
    return made


def grant_of(image: Image, consumer_id: UUID, *, is_test: bool = False) -> PullGrant:
    key = KeySnapshot(key_id=str(uuid7()), consumer_id=str(consumer_id), is_test=is_test)
    service = ServiceSnapshot(service_id=str(image.service_id), merchant_id=str(image.merchant_id))
    return PullGrant(Puller(b"", key), service)


async def pull(recorder: PullRecorder, image: Image, grant: PullGrant, access: Access | None = None) -> None:
    access = access or Access(uuid7(), "", ())
    await recorder.record(access, grant, image, manifest_bytes=400, duration_ms=3)


async def published(database: Database[Store], topic: str) -> list[bytes]:
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT payload FROM outbox WHERE topic = $1 ORDER BY outbox_id", topic)
    return [row["payload"] for row in rows]


async def events(database: Database[Store]) -> list[UsageEvent]:
    return [UsageEvent.FromString(each) for each in await published(database, "usage.events")]


async def forwarded(database: Database[Store]) -> dict[str, int]:
    """By consumer, as usage-svc adds up what it is told: of each journal the greatest total."""
    greatest: dict[tuple[bytes, str, str, str], int] = {}
    for payload in await published(database, "usage.forwarded"):
        total = ForwardedTotal.FromString(payload)
        key = (total.journal_id, total.day, total.merchant_id, total.consumer_id)
        greatest[key] = max(total.events, greatest.get(key, 0))
    added: dict[str, int] = {}
    for (_, _, _, consumer_id), count in greatest.items():
        added[consumer_id] = added.get(consumer_id, 0) + count
    return added


async def test_pulls_at_once_are_each_an_event_and_all_told_of(
    database: Database[Store], image: Image
) -> None:
    consumers = [uuid7(), uuid7()]
    # As many processes.
    recorders = [PullRecorder(database), PullRecorder(database)]
    grants = [grant_of(image, consumer_id) for consumer_id in consumers]
    await asyncio.gather(
        *(pull(recorders[number % 3 % 2], image, grants[number % 2]) for number in range(30))
    )
    metered = await events(database)
    assert len({event.event_id for event in metered}) == 30
    assert await forwarded(database) == {str(consumer_id): 15 for consumer_id in consumers}
    last = ForwardedTotal.FromString((await published(database, "usage.forwarded"))[-1])
    assert last.day == f"{metered[-1].timestamp.ToDatetime(UTC):%Y-%m-%d}"
    assert last.merchant_id == str(image.merchant_id)


async def test_further_manifests_of_a_pull_are_neither_metered_nor_told_of(
    database: Database[Store], image: Image
) -> None:
    recorder, grant, access = PullRecorder(database), grant_of(image, CONSUMER), Access(uuid7(), "", ())
    for _ in range(3):
        await pull(recorder, image, grant, access)
    assert len(await events(database)) == 1
    assert await forwarded(database) == {str(CONSUMER): 1}


async def test_after_a_restore_as_many_are_told_of_as_were_metered(
    database: Database[Store], image: Image
) -> None:
    before, grant = PullRecorder(database), grant_of(image, CONSUMER)
    for _ in range(3):
        await pull(before, image, grant)
    async with database.connection() as connection:
        # As a dump of before the last two has it. They are in Kafka.
        await connection.execute("UPDATE pull_totals SET pulls = 1")
    await pull(PullRecorder(database), image, grant)
    assert len(await events(database)) == 4
    assert await forwarded(database) == {str(CONSUMER): 4}


async def test_totals_of_days_that_are_over_go(database: Database[Store], image: Image) -> None:
    recorder = PullRecorder(database)
    await pull(recorder, image, grant_of(image, CONSUMER))
    await pull(recorder, image, grant_of(image, OTHER))
    async with database.connection() as connection:
        await connection.execute("UPDATE pull_totals SET day = day - 3 WHERE consumer_id = $1", CONSUMER)
    await recorder.resolve(Access(uuid7(), "", ()), image)
    async with database.connection() as connection:
        kept = await connection.fetch("SELECT consumer_id, day FROM pull_totals")
    assert [row["consumer_id"] for row in kept] == [OTHER]
    assert abs(kept[0]["day"] - utc_now().date()) <= timedelta(days=1)


async def test_a_pull_with_a_test_key_is_metered_as_such(database: Database[Store], image: Image) -> None:
    recorder = PullRecorder(database)
    await pull(recorder, image, grant_of(image, CONSUMER, is_test=True))
    await pull(recorder, image, grant_of(image, CONSUMER))
    assert [event.is_test for event in await events(database)] == [True, False]


@pytest.fixture
async def connection(admin_database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """In a schema of its own, of which nothing stays."""
    connection = await asyncpg.connect(admin_database_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("CREATE SCHEMA of_before; SET LOCAL search_path = of_before")
    yield connection
    await transaction.rollback()
    await connection.close()


async def test_pulls_of_before_they_were_counted_are_told_of(connection: asyncpg.Connection) -> None:
    migrations = {each.name: each.sql for each in migrations_of("registry_svc")}
    for each in migrations_of("ams_common"):
        await connection.execute(each.sql)
    for name in sorted(migrations):
        if name < COUNTS:
            await connection.execute(migrations[name])
    service_id, image_id = uuid7(), uuid7()
    await connection.execute("INSERT INTO repositories VALUES ($1, $2, 'a/b')", service_id, MERCHANT)
    await connection.execute(
        "INSERT INTO images (image_id, service_id, merchant_id, name, tag, digest, media_type, size_bytes,"
        " status, license_model, pushed_at)"
        " VALUES ($1, $2, $3, 'a/b', '1.0.0', $4, '', 1, 'active', 'connected', now())",
        image_id,
        service_id,
        MERCHANT,
        f"sha256:{'0' * 64}",
    )
    late = datetime(2026, 11, 1, 23, 59, 59, 999_999, tzinfo=UTC)
    past = [(CONSUMER, late)] * 300 + [(CONSUMER, late + timedelta(seconds=1)), (OTHER, late)]
    await connection.executemany(
        "INSERT INTO pulls (pull_id, token_id, image_id, digest, consumer_id, key_id, pulled_at)"
        " VALUES ($1, $2, $3, '', $4, $5, $6)",
        [(uuid7(), uuid7(), image_id, consumer_id, uuid7(), at) for consumer_id, at in past],
    )
    # Whatever the session writes dates and times like.
    await connection.execute("SET LOCAL datestyle = 'German'; SET LOCAL timezone = 'Asia/Tokyo'")
    await connection.execute(migrations[COUNTS])
    rows = await connection.fetch(
        "SELECT destination, topic, message_key, payload FROM outbox ORDER BY outbox_id"
    )
    assert {(row["destination"], row["topic"]) for row in rows} == {("kafka", "usage.forwarded")}
    told = [ForwardedTotal.FromString(row["payload"]) for row in rows]
    assert [row["message_key"].decode() for row in rows] == [total.consumer_id for total in told]
    assert len({total.journal_id for total in told}) == 1
    assert [len(total.journal_id) for total in told] == [16] * 3
    assert {total.merchant_id for total in told} == {str(MERCHANT)}
    assert {(date.fromisoformat(total.day), UUID(total.consumer_id)): total.events for total in told} == {
        (date(2026, 11, 1), CONSUMER): 300,
        (date(2026, 11, 2), CONSUMER): 1,
        (date(2026, 11, 1), OTHER): 1,
    }
