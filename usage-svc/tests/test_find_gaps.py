"""Whether every numbered event was counted, journal by journal."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.ids import uuid7
from usage_svc.gap_watch import find_gaps
from usage_svc.journals import SETTLED_AFTER, TOLD_FOR
from usage_svc.store import Store

LATER = SETTLED_AFTER + timedelta(minutes=1)
BLOCK = 1 << 20


def numbered(subject: Any, journal_id: UUID, numbers: Iterable[int]) -> list[Any]:
    return [subject.event(journal_id=journal_id.bytes, sequence=number) for number in numbers]


async def journals(database: Database) -> dict[UUID, tuple[int, int, int]]:
    """highest_sequence, events and missing by journal."""
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT journal_id, highest_sequence, events, missing FROM journals")
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


async def test_a_journal_whose_events_have_all_come_misses_none_however_they_came(
    subject: Any, new_subject: Any, ingest: Any, database: Database[Store]
) -> None:
    first, second = uuid7(), uuid7()
    events = numbered(subject, first, range(1, 21)) + numbered(new_subject(), second, range(1, 6))
    await ingest(events[10:])
    await ingest(events[:15])
    assert await journals(database) == {first: (20, 20, 0), second: (5, 5, 0)}
    assert await find_gaps(database, utc_now() + LATER) == []


async def test_a_number_that_never_came_is_a_gap_once_its_journal_is_quiet(
    subject: Any, ingest: Any, database: Database[Store]
) -> None:
    journal_id = uuid7()
    await ingest(numbered(subject, journal_id, [1, 2, 4, 7]))
    assert await journals(database) == {journal_id: (7, 4, 3)}
    assert await find_gaps(database, utc_now()) == []
    assert await find_gaps(database, utc_now() + LATER) == [(journal_id, 7, 3)]
    await ingest(numbered(subject, journal_id, [3, 5, 6]))
    assert await find_gaps(database, utc_now() + LATER) == []


async def test_a_gap_is_found_while_its_gateway_goes_on(
    subject: Any, ingest: Any, database: Database[Store]
) -> None:
    """Blocks that are quiet are checked, whatever is added to later ones."""
    journal_id = uuid7()
    await ingest(numbered(subject, journal_id, [1, BLOCK]))
    async with database.change_by_system("test", audited=False) as change:
        await change.connection.execute("UPDATE journal_counts SET counted_at = now() - interval '1 hour'")
        await change.connection.execute("UPDATE journal_counts SET events = $1", BLOCK - 2)
    await ingest(numbered(subject, journal_id, [BLOCK + 1, BLOCK + 9]))
    assert await find_gaps(database, utc_now()) == [(journal_id, BLOCK, 2)]
    assert await find_gaps(database, utc_now() + LATER) == [(journal_id, BLOCK + 9, 9)]


async def test_a_gap_that_nothing_fills_is_told_of_for_a_week(
    subject: Any, ingest: Any, database: Database[Store]
) -> None:
    await ingest(numbered(subject, uuid7(), [2]))
    assert len(await find_gaps(database, utc_now() + TOLD_FOR - timedelta(minutes=1))) == 1
    assert await find_gaps(database, utc_now() + TOLD_FOR + timedelta(minutes=1)) == []


async def test_events_of_no_journal_are_counted_and_missed_nowhere(
    subject: Any, ingest: Any, database: Database[Store], figures: Any
) -> None:
    await ingest([subject.event(), subject.event()])
    assert (await figures.raw())["requests"] == 2
    assert await journals(database) == {}
