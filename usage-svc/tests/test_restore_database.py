"""A database that was restored from an older dump, and has read the topic again, bills as it did before."""

import random
from typing import Any

import asyncpg
import pytest
from ams.usage.v1.events_pb2 import CLIENT_CLOSED, UsageEvent, UsageEventBatch
from ams_common.database import Database
from ams_common.subscriptions import Batch, Record
from usage_svc.event_handlers import UsageIntake
from usage_svc.partitions import Partitions
from usage_svc.store import Store

SOURCE = "11111111-1111-4111-8111-111111111111/0"
OF_MORE_PARTITIONS = "11111111-1111-4111-8111-111111111111/5"
OF_A_NEW_TOPIC = "22222222-2222-4222-8222-222222222222/0"


# What intake writes, besides the offsets, which the test moves itself.
TABLES = (
    "series",
    "consumer_sums",
    "sources",
    "usage_events",
    "rollups_by_minute",
    "rollups_by_hour",
    "rollups_by_day",
    "rollups_by_month",
    "day_totals",
    "journal_counts",
    "outbox",
)


async def dumped(database: Database) -> dict[str, list[asyncpg.Record]]:
    """The rows of every table, as a dump has them."""
    async with database.connection() as connection:
        return {table: await connection.fetch(f"TABLE {table}") for table in TABLES}


async def restore(database: Database, dump: dict[str, list[asyncpg.Record]]) -> None:
    """Nothing but what was dumped is there afterwards."""
    async with database.change_by_system("test", audited=False) as change:
        await change.connection.execute(f"TRUNCATE {', '.join(TABLES)}")
        for table, rows in dump.items():
            await change.connection.copy_records_to_table(table, records=rows)


async def test_reading_on_from_an_older_dump_changes_no_bill_however_batches_are_cut(
    new_subject: Any, database: Database[Store], figures: Any, sums_of_totals: Any
) -> None:
    dice = random.Random(9)
    subjects = [new_subject() for _ in range(4)]
    events = [subject.event(request_bytes=dice.randrange(99)) for subject in subjects for _ in range(50)]
    events += [subject.event(outcome=CLIENT_CLOSED, status_code=499) for subject in subjects]
    # Gateways send again what they don't know to have arrived.
    topic = [*events, *dice.sample(events, 60)]
    dice.shuffle(topic)

    async def read(start: int, end: int) -> None:
        while start < end:
            cut = min(end, start + dice.randrange(1, 30))
            await handle(database, _batch(SOURCE, topic, start, cut))
            start = cut

    await read(0, 90)
    dump = await dumped(database)
    await read(90, 200)
    told = await figures.totals()
    held = sums_of_totals(told)
    await restore(database, dump)
    await read(90, 170)
    assert sums_of_totals([*told, *await figures.totals()]) == held
    await read(170, len(topic))
    told += await figures.totals()
    assert sums_of_totals(told) == {
        "requests": 204,
        "billable": 204,
        "sent": sum(event.request_payload_size_bytes for event in events),
        "received": sum(event.response_payload_size_bytes for event in events),
    }
    assert await figures.broken_invariants() == {}


@pytest.mark.parametrize(
    "sources",
    [
        pytest.param([OF_A_NEW_TOPIC], id="the topic was made anew"),
        pytest.param([OF_MORE_PARTITIONS, SOURCE], id="a new partition is read before the old one"),
        pytest.param([SOURCE, OF_MORE_PARTITIONS], id="a new partition is read after the old one"),
    ],
)
async def test_events_that_are_sent_again_after_a_restore_are_billed_once_wherever_they_are_read(
    sources: list[str], new_subject: Any, database: Database[Store], figures: Any, sums_of_totals: Any
) -> None:
    """The dump has 40 of 100 events; gateways send again what came after it, and 10 that it has."""
    subject = new_subject()
    events = [subject.event(request_bytes=number) for number in range(100)]
    await handle(database, _batch(SOURCE, events, 0, 40))
    dump = await dumped(database)
    await handle(database, _batch(SOURCE, events, 40, 100))
    told = await figures.totals()
    billed = sums_of_totals(told)
    assert billed["requests"] == 100
    await restore(database, dump)
    for source in sources:
        # In the new topic they have new offsets, in the old one their own.
        await handle(database, _batch(source, events, 30, 100))
    new = [subject.event() for _ in range(5)]
    await handle(database, Batch(sources[-1], [_record(500 + at, event) for at, event in enumerate(new)]))
    told += await figures.totals()
    assert sums_of_totals(told)["requests"] == 105
    assert await figures.broken_invariants() == {}


async def handle(database: Database[Store], batch: Batch) -> None:
    """As the event consumer does."""
    intake = UsageIntake(Partitions(database))
    prepared, rejections = intake.prepare(batch)
    assert not rejections
    await intake.make_ready(prepared)
    async with database.change_by_system("test", audited=False) as change:
        await intake.apply(change, prepared)


def _batch(source: str, topic: list[UsageEvent], start: int, end: int) -> Batch:
    return Batch(source, [_record(offset, topic[offset]) for offset in range(start, end)])


def _record(offset: int, event: UsageEvent) -> Record:
    return Record(offset, None, UsageEventBatch(events=[event]).SerializeToString())
