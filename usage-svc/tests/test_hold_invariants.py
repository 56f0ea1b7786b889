"""Each invariant of the stored figures finds what breaks it."""

from typing import Any

from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.queries import Queries
from usage_svc.invariants import find_broken
from usage_svc.store import Store

INCARNATION = "22222222-2222-4222-8222-222222222222"
BREAKS = {
    "rollups_by_hour_are_those_of_the_day": "UPDATE rollups_by_day SET errors = errors + 1",
    "rollups_by_day_are_those_of_the_month": "UPDATE rollups_by_month SET request_bytes = request_bytes + 1",
    "rollups_by_minute_are_those_of_the_hour": "UPDATE rollups_by_minute SET latencies = latencies + 1",
    "consumers_sums_are_those_of_their_series": (
        "UPDATE rollups_by_hour SET response_time_ms_max = 9 WHERE series_id IN"
        " (SELECT series_id FROM consumer_sums)"
    ),
    "consumers_with_many_series_have_a_sum": "DELETE FROM consumer_sums",
    "day_totals_are_those_of_rollups": "UPDATE day_totals SET charge_class = 4",
    "raw_events_are_those_of_day_totals": "UPDATE usage_events SET response_bytes = response_bytes + 1",
    "day_totals_know_how_far_their_sources_were_read": "UPDATE day_totals SET last_offsets = '{}'",
    "events_lie_before_the_offset_that_is_read_next": "UPDATE consumer_offsets SET next_offset = 1",
    "everything_has_a_series": "DELETE FROM series",
    "no_journal_has_more_events_than_numbers": "UPDATE journal_counts SET events = highest_sequence + 1",
}


async def test_each_invariant_finds_what_breaks_it(
    database: Database[Store], new_subject: Any, ingest: Any
) -> None:
    names = Queries.load("usage_svc", "invariants.sql").names()
    assert BREAKS.keys() == set(names), "an invariant that nothing has ever broken holds nothing"
    consumer_id, journal_id = uuid7(), uuid7().bytes
    subjects = [new_subject(consumer_id=consumer_id) for _ in range(4)]
    calls = [
        subject.event(journal_id=journal_id, sequence=number)
        for number, subject in enumerate([*subjects, *subjects], start=1)
    ]
    assert not await ingest(calls, source=f"{INCARNATION}/0")
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO consumer_offsets (topic, partition, incarnation, next_offset)"
            " VALUES ('usage.events', 0, $1, 8)",
            INCARNATION,
        )
        assert await find_broken(connection) == {}
        for name, sql in BREAKS.items():
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(sql)
            found = await find_broken(connection)
            await transaction.rollback()
            assert name in found
