from datetime import UTC, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from ams.usage.v1.events_pb2 import CLIENT_CLOSED, UPSTREAM_FAILED
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.ids import uuid7
from usage_svc.events import MalformedEventError


async def test_events_become_raw_rows_rollups_and_one_delta_per_group(
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
    deltas = {delta.consumer_id: delta for delta in await figures.deltas()}
    assert len(deltas) == len(await figures.deltas()) == 2
    delta = deltas[str(subject.consumer_id)]
    assert (delta.requests, delta.billable_requests) == (4, 3)
    assert (delta.request_bytes, delta.response_bytes) == (35, 200)
    assert (delta.merchant_id, delta.service_id) == (str(subject.merchant_id), str(subject.service_id))
    assert delta.price_version_id == str(subject.price_version_id)
    assert delta.period == utc_now().strftime("%Y-%m")


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
    deltas = await figures.deltas()
    assert [delta.requests for delta in deltas] == [2, 1]
    assert len({delta.delta_id for delta in deltas}) == 2


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
        row = dict(await connection.fetchrow("SELECT * FROM usage_events"))
    assert row == {
        "event_id": row["event_id"],
        "occurred_at": event.timestamp.ToDatetime(tzinfo=UTC),
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
        "outcome": "upstream_failed",
        "billable": False,
        "journal_id": UUID(bytes=b"j" * 16),
        "sequence": 3,
        "is_continuation": False,
        "request_messages": 4,
        "response_messages": 5,
        "request_id": "my-request",
        "is_test": False,
    }
    assert row["event_id"].bytes == event.event_id


async def test_events_of_two_months_and_two_prices_are_billed_apart(
    subject: Any, new_subject: Any, ingest: Any, figures: Any
) -> None:
    before = utc_now().replace(day=1, hour=0, minute=0, second=0) - timedelta(seconds=1)
    later_price = new_subject(
        consumer_id=subject.consumer_id, merchant_id=subject.merchant_id, service_id=subject.service_id
    )
    await ingest([subject.event(before), subject.event(), later_price.event()])
    groups = {(delta.period, delta.price_version_id) for delta in await figures.deltas()}
    this_month = utc_now().strftime("%Y-%m")
    assert groups == {
        (before.strftime("%Y-%m"), str(subject.price_version_id)),
        (this_month, str(subject.price_version_id)),
        (this_month, str(later_price.price_version_id)),
    }


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
            "SELECT granularity, bucket_start, project_id, status_class, requests FROM usage_rollups"
        )
    minute = noon.replace(second=0, microsecond=0)
    hour, day = minute.replace(minute=0), minute.replace(hour=0, minute=0)
    assert {tuple(row) for row in rows} == {
        ("minute", minute, None, "2xx", 2),
        ("minute", minute + timedelta(minutes=1), None, "2xx", 2),
        ("minute", minute, None, "5xx", 2),
        ("minute", minute, of_project.project_id, "2xx", 2),
        *[
            (granularity, bucket, project_id, status_class, requests)
            for granularity, bucket in (("hour", hour), ("day", day))
            for project_id, status_class, requests in (
                (None, "2xx", 4),
                (None, "5xx", 2),
                (of_project.project_id, "2xx", 2),
            )
        ],
    }


async def test_a_malformed_event_stops_its_batch_and_nothing_of_it_is_kept(
    subject: Any, ingest: Any, figures: Any
) -> None:
    bad = subject.event()
    bad.event_id = b"short"
    with pytest.raises(MalformedEventError):
        await ingest([subject.event(), bad])
    assert (await figures.raw())["requests"] == 0
    assert await figures.deltas() == []


async def test_the_schema_refuses_impossible_sums(subject: Any, ingest: Any, database: Database) -> None:
    await ingest([subject.event()])
    async with database.change_by_system("test", audited=False) as attempt:
        for change in (
            "billable_requests = requests + 1",
            "billable_requests = -1",
            "requests = -1",
            "request_bytes = -1",
            "response_bytes = -1",
            "response_time_ms_sum = -1",
            "bucket_start = bucket_start + interval '1 second'",
            "granularity = 'week'",
            "status_class = '9xx'",
        ):
            with pytest.raises(asyncpg.CheckViolationError):
                async with attempt.connection.transaction():
                    await attempt.connection.execute(f"UPDATE usage_rollups SET {change}")
