import asyncio
from datetime import UTC, date, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from ams.usage.v1.events_pb2 import (
    CLIENT_CLOSED,
    CLIENT_ERROR,
    SERVED,
    UNCHARGED,
    UPSTREAM_FAILED,
    ForwardedTotal,
    UsageEvent,
    UsageEventBatch,
)
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.subscriptions import Batch, Record
from ams_common.testing.eventually import eventually
from usage_svc import latencies
from usage_svc.event_handlers import PreparedEvents, UsageIntake, keep_forwarded_totals
from usage_svc.partitions import Partitions
from usage_svc.store import Store


async def test_events_become_raw_rows_rollups_and_one_total_per_group(
    subject: Any, new_subject: Any, ingest: Any, figures: Any
) -> None:
    other = new_subject()
    await ingest(
        [
            subject.event(),
            subject.event(status_code=404, request_bytes=5),
            subject.event(status_code=499, outcome=CLIENT_CLOSED, response_bytes=0),
            subject.event(status_code=502, outcome=UPSTREAM_FAILED, response_bytes=0),
            other.event(),
        ]
    )
    expected = {"requests": 5, "billable": 4, "sent": 45, "received": 300}
    assert await figures.raw() == expected
    for granularity in ("minute", "hour", "day"):
        assert await figures.rolled_up(granularity) == expected
    assert await figures.told() == expected
    assert await figures.broken_invariants() == {}


async def test_billing_is_told_what_a_group_comes_to_with_each_batch_that_changes_it(
    subject: Any, new_subject: Any, ingest: Any, figures: Any
) -> None:
    other = new_subject(consumer_id=subject.consumer_id, project_id=uuid7())
    await ingest([subject.event(request_bytes=1), subject.event(status_code=404), other.event()])
    await ingest([subject.event(request_bytes=2)])
    totals = [total for total in await figures.totals() if total.api_key_id == str(subject.api_key_id)]
    assert [(total.charge_class, total.requests, total.request_bytes) for total in totals] == [
        (SERVED, 1, 1),
        (CLIENT_ERROR, 1, 10),
        (SERVED, 2, 3),
    ]
    last = totals[-1]
    assert (last.events, dict(last.last_offsets)) == (2, {"11111111-1111-4111-8111-111111111111/0": 3})
    assert last.day == utc_now().date().isoformat()
    assert (last.merchant_id, last.consumer_id, last.service_id, last.project_id) == (
        str(subject.merchant_id),
        str(subject.consumer_id),
        str(subject.service_id),
        "",
    )
    (of_project,) = [total for total in await figures.totals() if total.project_id]
    assert of_project.project_id == str(other.project_id)


async def test_duplicates_in_a_batch_and_across_batches_count_once(
    subject: Any, ingest: Any, figures: Any
) -> None:
    first, second, third = subject.event(), subject.event(), subject.event()
    await ingest([first, second, first])
    await ingest([second, third, third, first])
    await ingest([first, second, third])
    for sums in (
        await figures.raw(),
        *[await figures.rolled_up(g) for g in ("minute", "hour", "day")],
    ):
        assert sums["requests"] == 3
    assert [total.requests for total in await figures.totals()] == [2, 3]


async def test_events_that_two_processes_count_at_once_count_once(
    subject: Any, new_subject: Any, database: Database[Store], figures: Any
) -> None:
    of_both, of_yesterday = subject.event(), subject.event(utc_now() - timedelta(days=1))
    of_the_second = new_subject().event()
    intake = UsageIntake(Partitions(database))

    async def prepared(source: str, *events: UsageEvent) -> PreparedEvents:
        value = UsageEventBatch(events=events).SerializeToString()
        found, _ = intake.prepare(Batch(source, [Record(0, None, value)]))
        await intake.make_ready(found)
        return found

    first = await prepared("11111111-1111-4111-8111-111111111111/0", of_both, of_yesterday)
    second = await prepared("11111111-1111-4111-8111-111111111111/1", of_both, of_the_second)

    async def count_second() -> None:
        async with database.change_by_system("second", audited=False) as change:
            await intake.apply(change, second)

    async def is_waiting() -> bool:
        async with database.connection() as connection:
            waiting: bool = await connection.fetchval(
                "SELECT EXISTS (SELECT FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock')"
            )
        return waiting

    async with asyncio.TaskGroup() as tasks, database.change_by_system("first", audited=False) as change:
        await intake.apply(change, first)
        tasks.create_task(count_second())
        await eventually(is_waiting)
    assert (await figures.raw())["requests"] == 3
    assert (await figures.rolled_up("day"))["requests"] == 3
    assert (await figures.told())["requests"] == 3
    assert await figures.broken_invariants() == {}


async def test_an_event_that_comes_again_among_new_ones_of_two_days_counts_once(
    subject: Any, ingest: Any, figures: Any
) -> None:
    yesterday = utc_now() - timedelta(days=1)
    again = subject.event(yesterday)
    await ingest([again])
    await ingest([subject.event(), subject.event(yesterday), again, subject.event()])
    assert (await figures.raw())["requests"] == 4
    assert (await figures.told())["requests"] == 4
    assert await figures.broken_invariants() == {}


async def test_every_field_of_an_event_is_stored(new_subject: Any, ingest: Any, database: Database) -> None:
    subject = new_subject(project_id=uuid7())
    event = subject.event(
        status_code=503,
        outcome=UPSTREAM_FAILED,
        journal_id=b"j" * 16,
        sequence=3,
        request_messages=4,
        response_messages=5,
        request_id="my-request",
    )
    await ingest([event])
    async with database.connection() as connection:
        row = dict(
            await connection.fetchrow(
                "SELECT usage_events.*, series.*, sources.name AS source"
                " FROM usage_events JOIN series USING (series_id) JOIN sources USING (source_id)"
            )
        )
    assert row == {
        "event_id": UUID(bytes=event.event_id),
        "occurred_at": event.timestamp.ToDatetime(tzinfo=UTC),
        "series_id": row["series_id"],
        "source_id": row["source_id"],
        "source": "11111111-1111-4111-8111-111111111111/0",
        "source_offset": 0,
        "consumer_id": subject.consumer_id,
        "api_key_id": subject.api_key_id,
        "service_id": subject.service_id,
        "merchant_id": subject.merchant_id,
        "project_id": subject.project_id,
        "price_version_id": subject.price_version_id,
        "key_prefix": subject.key_prefix,
        "request_bytes": 10,
        "response_bytes": 100,
        "response_time_ms": 7,
        "status_code": 503,
        "outcome": UPSTREAM_FAILED,
        "charge_class": UNCHARGED,
        "journal_id": UUID(bytes=b"j" * 16),
        "sequence": 3,
        "is_continuation": False,
        "request_messages": 4,
        "response_messages": 5,
        "request_id": "my-request",
        "is_test": False,
    }


async def test_request_ids_of_any_length_and_none_are_kept_in_one_batch(
    subject: Any, ingest: Any, database: Database
) -> None:
    ids = ["", "a", "b" * 128, "c", "my-request"]
    await ingest(
        [
            *[subject.event(request_id=each) for each in ids],
            subject.event(request_id="numbered", journal_id=b"j" * 16, sequence=1),
        ]
    )
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT request_id, sequence FROM usage_events ORDER BY source_offset")
    assert [tuple(row) for row in rows] == [*[(each or None, None) for each in ids], ("numbered", 1)]


async def test_days_are_told_apart_and_sources_and_prices_are_not(
    subject: Any, new_subject: Any, ingest: Any, figures: Any
) -> None:
    """Which price is in force on a day is billing's to know."""
    before = utc_now().replace(day=1, hour=0, minute=0, second=0) - timedelta(seconds=1)
    later_price = new_subject(**(vars(subject) | {"price_version_id": uuid7()}))
    await ingest([subject.event(before), subject.event(), later_price.event()])
    await ingest([subject.event()], source="11111111-1111-4111-8111-111111111111/3")
    told = [
        (total.day, total.requests, sorted((source[-1], last) for source, last in total.last_offsets.items()))
        for total in await figures.totals()
    ]
    today = utc_now().date().isoformat()
    assert sorted(told) == [
        (before.date().isoformat(), 1, [("0", 0)]),
        (today, 2, [("0", 2)]),
        (today, 3, [("0", 2), ("3", 3)]),
    ]
    assert await figures.broken_invariants() == {}


async def test_rollups_are_kept_by_bucket_status_class_and_project(
    new_subject: Any, ingest: Any, database: Database
) -> None:
    plain = new_subject()
    of_project = new_subject(**(vars(plain) | {"project_id": uuid7()}))
    noon = (utc_now() - timedelta(days=1)).replace(hour=12, minute=0, second=30)
    for _ in range(2):  # the second round meets rows that exist, one of them without a project
        await ingest(
            [
                plain.event(noon),
                plain.event(noon + timedelta(minutes=1), status_code=204),
                plain.event(noon, status_code=500),
                of_project.event(noon),
            ]
        )
    async with database.connection() as connection:
        rows = await connection.fetch(
            " UNION ALL ".join(
                f"SELECT '{level}' AS level, bucket_start, project_id, status_class, requests"
                f" FROM rollups_by_{level} JOIN series USING (series_id)"
                for level in ("minute", "hour", "day", "month")
            )
        )
    minute = noon.replace(second=0, microsecond=0)
    hour, day = minute.replace(minute=0), minute.replace(hour=0, minute=0)
    month = day.replace(day=1)
    assert {tuple(row) for row in rows} == {
        ("minute", minute, None, 2, 2),
        ("minute", minute + timedelta(minutes=1), None, 2, 2),
        ("minute", minute, None, 5, 2),
        ("minute", minute, of_project.project_id, 2, 2),
        *[
            (granularity, bucket, project_id, status_class, requests)
            for granularity, bucket in (("hour", hour), ("day", day), ("month", month))
            for project_id, status_class, requests in (
                (None, 2, 4),
                (None, 5, 2),
                (of_project.project_id, 2, 2),
            )
        ],
    }


async def test_what_cannot_be_counted_is_told_and_the_rest_is_counted(
    subject: Any, ingest: Any, figures: Any
) -> None:
    bad = subject.event()
    bad.event_id = b"short"
    (rejection,) = await ingest([subject.event(), bad])
    assert rejection.error == "event_id must have 16 bytes"
    assert UsageEventBatch.FromString(rejection.record.value).events == [bad]
    assert (await figures.told())["requests"] == 1


async def test_latencies_are_merged_by_adding(subject: Any, ingest: Any, database: Database) -> None:
    times_ms = [0, 3, 3, 49, 200, 12_345, 2**31 - 1]
    for time_ms in times_ms:
        await ingest([subject.event(response_time_ms=time_ms)])
    await ingest([subject.event(response_time_ms=3, is_continuation=True)])
    async with database.connection() as connection:
        for level in ("minute", "hour", "day"):
            merged = await connection.fetchval(f"SELECT sum(latencies)::text FROM rollups_by_{level}")
            assert int(latencies.counts_of(merged).sum()) == len(times_ms)
            assert latencies.quantiles_ms(merged, [0, 0.5]) == [0, 49]


async def test_the_greatest_total_that_a_gateway_told_of_forwarded_events_holds(
    subject: Any, database: Database[Store]
) -> None:
    def told(events: int) -> ForwardedTotal:
        return ForwardedTotal(
            journal_id=b"j" * 16,
            day="2026-11-29",
            merchant_id=str(subject.merchant_id),
            consumer_id=str(subject.consumer_id),
            events=events,
        )

    for batch in ([3, 7, 5], [6], [9], [9]):
        async with database.change_by_system("test", audited=False) as change:
            await keep_forwarded_totals(change, [told(events) for events in batch])
    async with database.connection() as connection:
        assert [tuple(row) for row in await connection.fetch("SELECT * FROM forwarded_totals")] == [
            (UUID(bytes=b"j" * 16), date(2026, 11, 29), subject.merchant_id, subject.consumer_id, 9)
        ]


async def test_the_schema_refuses_impossible_sums(subject: Any, ingest: Any, database: Database) -> None:
    await ingest([subject.event()])
    async with database.change_by_system("test", audited=False) as attempt:
        for change in (
            "billable_requests = requests + 1",
            "billable_requests = -1",
            "errors = requests + 1",
            "requests = -1",
            "request_bytes = -1",
            "response_bytes = -1",
            "response_time_ms_sum = -1",
            "latencies = -1",
            "bucket_start = bucket_start + interval '1 second'",
            "status_class = 9",
        ):
            with pytest.raises(asyncpg.CheckViolationError):
                async with attempt.connection.transaction():
                    await attempt.connection.execute(f"UPDATE rollups_by_day SET {change}")
