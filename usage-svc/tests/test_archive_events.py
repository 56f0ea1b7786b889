"""Retention: old raw events go to the archive and out of the database, whatever happens on the way."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import asyncpg
import pyarrow.parquet as pq
import pytest
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.faults import TryAgainError
from ams_common.ids import uuid7
from ams_common.subscriptions import Batch, Record, Rejection
from usage_svc.event_handlers import UsageIntake
from usage_svc.file_store import FileStore
from usage_svc.partitions import Partitions
from usage_svc.reading import read_batch
from usage_svc.retention import keeping
from usage_svc.retention.keeping import Retention, days_before
from usage_svc.retention.store import RetentionStore
from usage_svc.store import Store

KEEP_DAYS = 90
NOON = utc_now().replace(hour=12, minute=0, second=0, microsecond=0)
OLD = NOON - timedelta(days=KEEP_DAYS + 1)
YOUNG = NOON - timedelta(days=KEEP_DAYS)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def retention(database: Database[Store], directory: Path) -> Retention:
    return Retention(
        database=database,
        files=FileStore(str(directory)),
        keep_events_days=lambda: KEEP_DAYS,
        keep_minutes_days=30,
        keep_trees_days=1100,
    )


def files_in(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def archived(directory: Path) -> list[dict[str, Any]]:
    paths = sorted(directory.rglob("*.parquet"))
    # One by one: the folder's day would be read as a column.
    return [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]


async def kept(database: Database) -> set[UUID]:
    """The ids of the events in the database."""
    async with database.connection() as connection:
        return {row["event_id"] for row in await connection.fetch("SELECT event_id FROM usage_events")}


async def sums(database: Database) -> list[Any]:
    """What is kept for good."""
    async with database.connection() as connection:
        return [
            await connection.fetchval(f"SELECT sum(requests) FROM {table}")
            for table in ("rollups_by_hour", "rollups_by_day", "rollups_by_month", "day_totals")
        ]


def ids(events: list[Any]) -> set[UUID]:
    return {UUID(bytes=event.event_id) for event in events}


async def test_every_named_query_is_understood_and_declared(database: Database) -> None:
    async with database.connection() as connection:
        for name in RetentionStore.queries.names():
            await RetentionStore.queries.prepare(connection, name)
    assert set(RetentionStore.queries.names()) == RetentionStore.declared()


async def test_old_events_are_in_the_archive_and_young_ones_in_the_database(
    new_subject: Any, ingest: Any, retention: Retention, database: Database, directory: Path
) -> None:
    subject = new_subject(project_id=uuid7())
    numbered = {"journal_id": uuid7().bytes, "sequence": 7, "request_id": 'a,"b"'}
    old = [
        subject.event(OLD, **numbered),
        subject.event(OLD + timedelta(microseconds=1), status_code=404, is_test=True),
        new_subject().event(OLD + timedelta(hours=3), request_bytes=1 << 40),
    ]
    young = [subject.event(YOUNG)]
    await ingest([*old, *young])
    before = await sums(database)
    await retention.run_once()
    rows = archived(directory)
    assert {UUID(row["event_id"]) for row in rows} == ids(old)
    assert await kept(database) == ids(young)
    assert await sums(database) == before
    row = next(row for row in rows if row["request_id"])
    assert row["occurred_at"] == OLD.astimezone(UTC)
    assert (row["request_id"], row["sequence"]) == ('a,"b"', 7)
    assert (row["consumer_id"], row["project_id"]) == (str(subject.consumer_id), str(subject.project_id))
    others = [row for row in rows if not row["request_id"]]
    assert [row["journal_id"] for row in others] == [None, None]
    assert sum(row["request_bytes"] for row in rows) == 20 + (1 << 40)
    assert sorted(row["is_test"] for row in rows) == [False, False, True]
    assert files_in(directory) == [f"usage_events/day={OLD:%Y-%m-%d}/part-000.parquet"]


async def test_a_second_round_changes_nothing(
    subject: Any, ingest: Any, retention: Retention, database: Database, directory: Path
) -> None:
    await ingest([subject.event(OLD)])
    await retention.run_once()
    await retention.run_once()
    assert len(archived(directory)) == 1
    assert len(files_in(directory)) == 1


async def test_what_was_counted_after_the_drop_is_another_part(
    subject: Any, ingest: Any, retention: Retention, database: Database[Store], directory: Path
) -> None:
    """As releases before counted it."""
    first, late = subject.event(OLD), subject.event(OLD)
    await ingest([first])
    await retention.run_once()
    batch = Batch("a-topic/0", [Record(9, None, late.SerializeToString())])
    async with database.change_by_system("test", audited=False) as change:
        await change.store.ensure_partitions(days=[OLD.date()])
        await change.store.add_events(read_batch(batch, utc_now())[0], batch.source)
    await retention.run_once()
    assert {UUID(row["event_id"]) for row in archived(directory)} == ids([first, late])
    assert [name[-16:] for name in files_in(directory)] == ["part-000.parquet", "part-001.parquet"]
    assert not await kept(database)
    assert (await sums(database))[0] == 2


async def test_an_event_of_a_day_that_was_archived_is_set_aside_and_never_counted_twice(
    subject: Any,
    new_subject: Any,
    ingest: Any,
    retention: Retention,
    database: Database,
    figures: Any,
    directory: Path,
) -> None:
    """Whether it is one that was counted or one that was lost: nobody can tell."""
    counted, older = subject.event(OLD), subject.event(OLD - timedelta(days=7))
    await ingest([counted])
    await retention.run_once()
    before, told = await sums(database), await figures.told()
    young = new_subject().event(YOUNG)
    rejections = await ingest_again(ingest, [counted, subject.event(OLD), older, young])
    assert len(rejections) == 3
    assert {rejection.error for rejection in rejections} == {
        "its day's events are in the archive: whether it was counted before can't be told"
    }
    assert [after - held for after, held in zip(await sums(database), before, strict=True)] == [1] * 4
    assert (await figures.told())["requests"] == told["requests"] + 1
    assert await kept(database) == ids([young])
    # Nor by a process that has just begun, or that has the day's partition in mind still.
    fresh = UsageIntake(Partitions(database))
    batch = Batch("a-topic/0", [Record(9, None, counted.SerializeToString())])
    with pytest.raises(TryAgainError):
        await fresh.make_ready(fresh.prepare(batch)[0])
    assert len(fresh.prepare(batch)[1]) == 1
    assert await kept(database) == ids([young])
    assert len(files_in(directory)) == 1


async def test_days_that_a_longer_retention_would_keep_stay_archived(
    subject: Any, ingest: Any, retention: Retention, database: Database
) -> None:
    event = subject.event(OLD)
    await ingest([event])
    await retention.run_once()
    retention.keep_events_days = lambda: 2 * KEEP_DAYS
    await retention.run_once()
    assert len(await ingest_again(ingest, [event])) == 1
    assert not await kept(database)


async def test_an_event_between_export_and_drop_is_not_lost(
    subject: Any, ingest: Any, retention: Retention, database: Database, directory: Path
) -> None:
    first, late = subject.event(OLD), subject.event(OLD)
    await ingest([first])
    await retention._export(OLD.date())
    await ingest([late])
    await retention.run_once()
    assert {UUID(row["event_id"]) for row in archived(directory)} == ids([first, late])
    assert not await kept(database)
    assert len(files_in(directory)) == 1


@pytest.mark.parametrize("damage", ["gone", "cut", "none"])
async def test_who_was_killed_after_the_export_is_followed_by_who_looks_at_the_file(
    damage: str, subject: Any, ingest: Any, retention: Retention, database: Database, directory: Path
) -> None:
    await ingest([subject.event(OLD), subject.event(OLD)])
    export = await retention._export(OLD.date())
    spoil(directory / export.file_name, damage)
    await retention.run_once()
    assert len(archived(directory)) == 2
    assert not await kept(database)


def spoil(path: Path, damage: str) -> None:
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-10])


async def test_while_the_archive_cant_be_reached_nothing_is_dropped(
    subject: Any, ingest: Any, database: Database, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    retention = Retention(
        database=database,
        files=FileStore(str(in_the_way / "archive")),
        keep_events_days=lambda: KEEP_DAYS,
        keep_minutes_days=30,
        keep_trees_days=1100,
    )
    events = [subject.event(OLD)]
    await ingest(events)
    with pytest.raises(OSError, match="archive"):
        await retention.run_once()
    assert await kept(database) == ids(events)


async def test_a_partition_that_is_read_is_dropped_later(
    subject: Any,
    ingest: Any,
    retention: Retention,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    directory: Path,
) -> None:
    monkeypatch.setattr(keeping, "_ATTEMPTS", 1)
    events = [subject.event(OLD)]
    await ingest(events)
    async with database.connection() as connection, connection.transaction():
        await connection.fetch("SELECT count(*) FROM usage_events")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await retention.run_once()
    assert await kept(database) == ids(events)
    await retention.run_once()
    assert not await kept(database)
    assert len(archived(directory)) == 1


async def test_two_processes_take_turns(
    subject: Any, ingest: Any, retention: Retention, database: Database, directory: Path
) -> None:
    await ingest([subject.event(OLD + timedelta(minutes=n)) for n in range(20)])
    other = Retention(
        database=database,
        files=retention.files,
        keep_events_days=lambda: KEEP_DAYS,
        keep_minutes_days=30,
        keep_trees_days=1100,
    )
    await asyncio.gather(retention.run_once(), other.run_once())
    assert len(archived(directory)) == 20
    assert not await kept(database)


async def test_old_minutes_go_and_hours_stay(
    subject: Any, ingest: Any, retention: Retention, database: Database
) -> None:
    await ingest([subject.event(NOON - timedelta(days=days)) for days in (0, 30, 31, 60)])
    before = await sums(database)
    await retention.run_once()
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT bucket_start FROM rollups_by_minute ORDER BY 1")
    assert [row[0] for row in rows] == [NOON - timedelta(days=30), NOON]
    assert await sums(database) == before
    assert len(await kept(database)) == 4


async def test_journals_of_long_ago_are_forgotten(
    subject: Any, ingest: Any, retention: Retention, database: Database
) -> None:
    old, young = uuid7(), uuid7()
    events = [subject.event(NOON, journal_id=each.bytes, sequence=1) for each in (old, young)]
    await ingest(events)
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE journal_counts SET counted_at = now() - interval '91 days' WHERE journal_id = $1", old
        )
    await retention.run_once()
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT journal_id FROM journal_counts")
    assert [row[0] for row in rows] == [young]


def test_days_are_read_from_the_names_of_partitions() -> None:
    names = ["usage_events_20261130", "usage_events_20261001", "usage_events_20261002"]
    assert days_before(names, date(2026, 10, 2)) == [date(2026, 10, 1)]
    assert days_before(names, datetime(2026, 12, 1, tzinfo=UTC).date())[-1] == date(2026, 11, 30)


async def ingest_again(ingest: Any, events: list[Any]) -> Sequence[Rejection]:
    """As the event consumer does: who finds a partition gone tries again, and then once more."""
    for _ in range(2):
        try:
            return cast("Sequence[Rejection]", await ingest(events))
        except TryAgainError:
            pass
    return cast("Sequence[Rejection]", await ingest(events))


async def test_nothing_is_dropped_while_nobody_has_told_how_long_calls_are_kept(
    subject: Any, ingest: Any, database: Database, directory: Path
) -> None:
    told: list[int | None] = [None]
    retention = Retention(
        database=database,
        files=FileStore(str(directory)),
        keep_events_days=lambda: told[0],
        keep_minutes_days=30,
        keep_trees_days=1100,
    )
    events = [subject.event(OLD)]
    await ingest(events)
    await retention.run_if_due()
    assert await kept(database) == ids(events)
    # As soon as it is known, and not at the next hour.
    told[0] = KEEP_DAYS
    await retention.run_if_due()
    assert not await kept(database)


async def test_a_longer_time_that_is_set_keeps_what_the_shorter_one_would_drop(
    subject: Any, ingest: Any, retention: Retention, database: Database
) -> None:
    events = [subject.event(OLD)]
    await ingest(events)
    longer = Retention(
        database=database,
        files=retention.files,
        keep_events_days=lambda: 3650,
        keep_minutes_days=30,
        keep_trees_days=1100,
    )
    await longer.run_if_due()
    assert await kept(database) == ids(events)
