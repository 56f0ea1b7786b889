import asyncio
from datetime import date, timedelta
from typing import Any

import pytest
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.faults import TryAgainError
from ams_common.subscriptions import Batch, Record
from usage_svc.event_handlers import UsageIntake
from usage_svc.partitions import Partitions, days_to_keep_ready, make_partitions
from usage_svc.store import Store


async def partitions(database: Database) -> list[str]:
    async with database.connection() as connection:
        rows = await connection.fetch(
            "SELECT inhrelid::regclass::text AS name FROM pg_inherits"
            " WHERE inhparent = 'usage_events'::regclass ORDER BY 1"
        )
    return [row["name"] for row in rows]


async def test_processes_that_need_the_same_new_days_make_each_once(database: Database[Store]) -> None:
    days = [date(2026, 1, 30) + timedelta(days=ahead) for ahead in range(3)]

    async def ensure(order: list[date]) -> int:
        return await Partitions(database).ensure(order)

    made = await asyncio.gather(*[ensure(days if number % 2 else days[::-1]) for number in range(5)])
    assert sorted(made) == [0, 0, 0, 0, 3]
    assert await partitions(database) == [
        f"usage_events_{day}" for day in ("20260130", "20260131", "20260201")
    ]


async def test_batches_that_meet_a_new_day_together_are_all_counted(
    new_subject: Any, ingest: Any, figures: Any, database: Database
) -> None:
    days = [utc_now() - timedelta(days=ago) for ago in (3, 2, 1)]
    subjects = [new_subject() for _ in range(5)]
    await asyncio.gather(*[ingest([subject.event(day) for day in days]) for subject in subjects])
    assert (await figures.raw())["requests"] == 15
    assert await partitions(database) == [f"usage_events_{day:%Y%m%d}" for day in days]


async def test_a_partition_can_be_made_while_another_transaction_writes(
    subject: Any, ingest: Any, database: Database, figures: Any
) -> None:
    await ingest([subject.event()])
    async with database.connection() as writing, writing.transaction():
        await writing.execute("UPDATE usage_events SET request_bytes = request_bytes")
        assert await Partitions(database).ensure([date(2026, 1, 1)]) == 1


async def test_who_waits_for_a_table_gives_up_soon_and_tries_again(database: Database[Store]) -> None:
    async with database.connection() as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("LOCK TABLE usage_events IN ACCESS EXCLUSIVE MODE")
        waiting = asyncio.create_task(Partitions(database).ensure([date(2026, 1, 1)]))
        await asyncio.sleep(0.7)  # longer than it waits for a lock
        assert not waiting.done()
        await transaction.rollback()
        assert await waiting == 1


async def test_a_partition_that_was_dropped_is_made_again_for_what_comes_late(
    subject: Any, database: Database[Store], figures: Any
) -> None:
    intake = UsageIntake(Partitions(database))
    prepared, _ = intake.prepare(Batch("a/0", [Record(0, None, subject.event().SerializeToString())]))

    async def apply() -> None:
        await intake.make_ready(prepared)
        async with database.change_by_system("test", audited=False) as change:
            await intake.apply(change, prepared)

    for table in ("usage_events", "rollups_by_minute"):
        await apply()
        async with database.change_by_system("test", audited=False) as change:
            await change.connection.execute("TRUNCATE usage_events")
            await change.connection.execute(f"DROP TABLE {table}_{utc_now():%Y%m%d}")
        with pytest.raises(TryAgainError):
            await apply()
    await apply()
    assert (await figures.raw())["requests"] == 1


async def test_the_days_ahead_are_made_once(database: Database[Store]) -> None:
    assert await make_partitions(database) == 8
    assert await make_partitions(database) == 0
    assert len(await partitions(database)) == 8


def test_the_days_kept_ready_are_today_and_a_week() -> None:
    days = days_to_keep_ready(date(2026, 12, 28))
    assert (days[0], days[-1], len(days)) == (date(2026, 12, 28), date(2027, 1, 4), 8)
