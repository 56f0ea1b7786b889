"""Calls that last are counted once, calls with test keys are never billed."""

from datetime import timedelta
from typing import Any

from ams.usage.v1.events_pb2 import UPSTREAM_FAILED
from ams_common.clock import utc_now
from ams_common.database import Database


async def test_what_goes_on_of_a_call_adds_its_bytes_and_no_request(
    subject: Any, ingest: Any, figures: Any
) -> None:
    await ingest(
        [
            subject.event(request_bytes=10, response_bytes=100, response_time_ms=7),
            subject.event(
                request_bytes=1, response_bytes=1000, response_time_ms=60_000, is_continuation=True
            ),
        ]
    )
    expected = {"requests": 1, "billable": 1, "sent": 11, "received": 1100}
    for granularity in ("minute", "hour", "day"):
        assert await figures.rolled_up(granularity) == expected
    assert await figures.told() == expected


async def test_a_mean_time_is_of_calls_and_not_of_their_parts(
    subject: Any, ingest: Any, database: Database
) -> None:
    await ingest(
        [subject.event(response_time_ms=7), subject.event(response_time_ms=900, is_continuation=True)]
    )
    async with database.connection() as connection:
        sums = await connection.fetch(
            "SELECT response_time_ms_sum, response_time_ms_min, response_time_ms_max FROM rollups_by_day"
        )
        raw = await connection.fetch("SELECT response_time_ms FROM usage_events ORDER BY 1")
    assert [tuple(row) for row in sums] == [(7, 7, 7)]
    assert [row[0] for row in raw] == [7, 900]


async def test_a_minute_in_which_a_call_only_went_on_has_bytes_and_no_request(
    subject: Any, ingest: Any, database: Database, figures: Any
) -> None:
    now = utc_now()
    await ingest([subject.event(now - timedelta(minutes=2))])
    await ingest([subject.event(now, is_continuation=True, outcome=UPSTREAM_FAILED)])
    async with database.connection() as connection:
        rows = await connection.fetch(
            "SELECT requests, billable_requests, response_bytes, response_time_ms_sum, response_time_ms_max"
            " FROM rollups_by_minute ORDER BY bucket_start"
        )
    assert [tuple(row) for row in rows] == [(1, 1, 100, 7, 7), (0, 0, 100, 0, None)]
    told = await figures.told()
    assert (told["requests"], told["received"]) == (1, 200)


async def test_calls_with_a_test_key_are_counted_and_billing_never_hears_of_them(
    subject: Any, new_subject: Any, ingest: Any, figures: Any, database: Database
) -> None:
    await ingest([subject.event(is_test=True), subject.event(is_test=True), new_subject().event()])
    expected = {"requests": 3, "billable": 1, "sent": 30, "received": 300}
    assert await figures.raw() == expected
    assert await figures.rolled_up("day") == expected
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM usage_events WHERE is_test") == 2
    (total,) = await figures.totals()
    assert (total.consumer_id == str(subject.consumer_id), total.requests) == (False, 1)
