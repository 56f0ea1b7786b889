"""Whoever tampers with the audit log, even as a superuser, is found out."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from ams.audit.v1.events_pb2 import AuditRecord, FieldChange
from ams_common.clock import to_timestamp, utc_now
from ams_common.database import Database
from ams_common.ids import uuid7
from hypothesis import given
from hypothesis import strategies as st
from identity_svc.audit_chain import BEGINNING, ChainCheck, ChainedRecord, Checkpoint, chained_hash
from identity_svc.audit_log import AuditStore, Verified, purge, verify

HALF_A_YEAR = timedelta(days=180)


def record(number: int) -> AuditRecord:
    return AuditRecord(
        audit_id=str(uuid7()),
        occurred_at=to_timestamp(utc_now()),
        actor="system",
        action="service.update",
        resource="service",
        resource_id=f"s-{number}",
        details={"reason": "Grüße", "zone": "", "a": "b"},
        request_id="r",
        credential="session:1",
        client_address="192.0.2.7",
        changes=[
            FieldChange(field="name", before="Geo", after="地理 “quoted” \\"),
            FieldChange(field="tags"),
        ],
    )


async def add(database: Database, *records: AuditRecord) -> None:
    async with database.change_by_system("test", audited=False) as change:
        await AuditStore(change.connection).add(records)


@pytest.fixture
async def ten_records(database: Database) -> Verified:
    await add(database, *map(record, range(1, 8)))
    for number in (8, 9, 10):
        await add(database, record(number))
    verified = await verify(database)
    assert (verified.count, verified.head.position, verified.problems) == (10, 10, [])
    return verified


async def problems(database: Database, *noted: Checkpoint) -> Sequence[str]:
    return (await verify(database, noted)).problems


async def test_a_log_that_nobody_has_touched_verifies_from_its_first_record(database: Database) -> None:
    assert await verify(database) == Verified(0, BEGINNING, [])
    await add(database, record(1))
    verified = await verify(database)
    assert (verified.count, verified.problems) == (1, [])


async def test_what_comes_again_takes_no_place(database: Database, ten_records: Verified) -> None:
    twice = record(11)
    await add(database, twice, record(12), twice)
    await add(database, twice)
    verified = await verify(database)
    assert (verified.count, verified.head.position, verified.problems) == (12, 12, [])


async def test_writers_side_by_side_make_one_chain(database: Database) -> None:
    await asyncio.gather(*(add(database, record(n), record(n + 100)) for n in range(20)))
    verified = await verify(database)
    assert (verified.count, verified.head.position, verified.problems) == (40, 40, [])


async def test_a_writer_that_fails_leaves_no_gap(database: Database, ten_records: Verified) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.change_by_system("test", audited=False) as change:
            await AuditStore(change.connection).add([record(11)])
            raise ZeroDivisionError
    await add(database, record(12))
    assert await problems(database) == []


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'somebody else'",
        "action = 'service.create'",
        "resource = 'key'",
        "resource_id = ''",
        "request_id = ''",
        "credential = ''",
        "client_address = '192.0.2.8'",
        "audit_id = gen_random_uuid()",
        "occurred_at = occurred_at + interval '1 microsecond'",
        "stored_at = stored_at - interval '1 microsecond'",
        "details = details - 'a'",
        'details = details || \'{"a": "c"}\'',
        "details = '[]'",
        "changes = '[]'",
        "changes = jsonb_set(changes, '{0,before}', '\"Neo\"')",
        "changes = jsonb_build_array(changes -> 1, changes -> 0)",
        "changes = '[{}]'",
    ],
)
async def test_a_changed_record_is_found(
    database: Database, ten_records: Verified, audit_superuser: asyncpg.Connection, change: str
) -> None:
    await audit_superuser.execute(f"UPDATE records SET {change} WHERE position = 4")
    assert await problems(database) == ["record 4 was changed, or isn't where it was stored"]


@pytest.mark.parametrize(
    ("removed", "problem"),
    [
        ("position = 1", "record 1 is missing"),
        ("position = 5", "record 5 is missing"),
        ("position IN (5, 6)", "records 5 to 6 are missing"),
        ("position = 10", "record 10 is missing"),
        ("position > 7", "records 8 to 10 are missing"),
        ("true", "records 1 to 10 are missing"),
    ],
)
async def test_a_removed_record_is_found(
    database: Database, ten_records: Verified, audit_superuser: asyncpg.Connection, removed: str, problem: str
) -> None:
    await audit_superuser.execute(f"DELETE FROM records WHERE {removed}")
    assert await problems(database) == [problem]


async def test_records_that_changed_places_are_found(
    database: Database, ten_records: Verified, audit_superuser: asyncpg.Connection
) -> None:
    await audit_superuser.execute("UPDATE records SET position = 99 WHERE position = 3")
    await audit_superuser.execute("UPDATE records SET position = 3 WHERE position = 7")
    await audit_superuser.execute("UPDATE records SET position = 7 WHERE position = 99")
    found = await problems(database)
    assert {"record 3 was changed, or isn't where it was stored"} < set(found)
    assert {"record 7 was changed, or isn't where it was stored"} < set(found)


async def test_a_record_put_in_between_is_found(
    database: Database, ten_records: Verified, audit_superuser: asyncpg.Connection
) -> None:
    """With the triggers off, and a hash that is right for its own content."""
    await audit_superuser.execute("ALTER TABLE records DISABLE TRIGGER ALL")
    await audit_superuser.execute("UPDATE records SET position = position + 100 WHERE position > 4")
    await audit_superuser.execute("UPDATE records SET position = position - 99 WHERE position > 100")
    await audit_superuser.execute("UPDATE head SET position = 11")
    columns = ", ".join(COLUMNS)
    await audit_superuser.execute(
        f"INSERT INTO records (position, {columns}, stored_at, record_hash)"
        f" SELECT 5, {columns.replace('audit_id', 'gen_random_uuid()', 1)}, stored_at, record_hash"
        " FROM records WHERE position = 4"
    )
    assert "record 5 was changed, or isn't where it was stored" in await problems(database)


COLUMNS = (
    "audit_id",
    "occurred_at",
    "actor",
    "action",
    "resource",
    "resource_id",
    "details",
    "request_id",
    "credential",
    "client_address",
    "changes",
)


async def test_a_log_rebuilt_as_a_whole_is_found_by_a_checkpoint_that_was_noted_elsewhere(
    database: Database, ten_records: Verified, rebuild_audit_log: Any
) -> None:
    await rebuild_audit_log(actor="somebody else")
    await add(database, record(11))
    assert await problems(database) == []
    assert await problems(database, ten_records.head) == [
        "record 10 isn't the one that its checkpoint was noted of"
    ]


async def test_a_log_cut_off_with_its_head_is_found_by_a_checkpoint_that_was_noted_elsewhere(
    database: Database, ten_records: Verified, audit_superuser: asyncpg.Connection
) -> None:
    await audit_superuser.execute("DELETE FROM records WHERE position > 7")
    await audit_superuser.execute(
        "UPDATE head SET position = r.position, record_hash = r.record_hash"
        " FROM records r WHERE r.position = 7"
    )
    assert await problems(database) == []
    assert await problems(database, ten_records.head) == [
        "record 10, whose checkpoint was noted, isn't there"
    ]


async def test_a_head_that_was_put_back_is_found(
    database: Database, ten_records: Verified, audit_superuser: asyncpg.Connection
) -> None:
    await audit_superuser.execute("UPDATE head SET position = 9")
    assert await problems(database) == ["the newest record isn't number 9 that was stored last"]


async def test_retention_deletes_what_is_old_enough_and_the_rest_still_verifies(
    database: Database, ten_records: Verified, rebuild_audit_log: Any
) -> None:
    await rebuild_audit_log(stored_at=utc_now() - timedelta(days=200))
    await add(database, record(11))
    before = await verify(database)
    await purge(database, utc_now(), timedelta(days=201))
    assert await verify(database) == before
    await purge(database, utc_now(), timedelta(days=199))
    after = await verify(database)
    assert (after.count, after.head, after.problems) == (1, before.head, [])
    # What retention has deleted is no longer asked for.
    assert await problems(database, ten_records.head, before.head) == []
    async with database.connection() as connection:
        payload = await connection.fetchval("SELECT payload FROM outbox ORDER BY outbox_id DESC LIMIT 1")
    told = AuditRecord.FromString(payload)
    assert (told.action, told.resource_id, dict(told.details)) == ("audit.purge", "10", {"records": "10"})


async def test_whoever_deletes_the_first_records_without_retention_is_found(
    database: Database, ten_records: Verified, audit_superuser: asyncpg.Connection
) -> None:
    await audit_superuser.execute("DELETE FROM records WHERE position <= 3")
    assert await problems(database) == ["records 1 to 3 are missing"]


async def test_records_are_kept_for_half_a_year_whatever_is_asked_for(
    database: Database, ten_records: Verified, audit_superuser: asyncpg.Connection
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="180 days"):
        await purge(database, utc_now(), HALF_A_YEAR - timedelta(hours=1))
    assert (await verify(database)).count == 10


async def test_the_command_says_what_is_wrong_and_ends_with_1(
    database: Database, ten_records: Verified, audit_superuser: asyncpg.Connection, database_url: str
) -> None:
    status, said = await run_command(database_url, "--checkpoint", str(ten_records.head))
    assert (status, said) == (0, f"10 records are as they were stored; checkpoint {ten_records.head}\n")
    await audit_superuser.execute("UPDATE records SET details = '{}' WHERE position = 2")
    await audit_superuser.execute("DELETE FROM records WHERE position = 9")
    status, said = await run_command(database_url)
    assert (status, said) == (
        1,
        "record 2 was changed, or isn't where it was stored\nrecord 9 is missing\n",
    )
    status, _ = await run_command(database_url, "--checkpoint", "no checkpoint")
    assert status == 2


async def run_command(database_url: str, *arguments: str) -> tuple[int | None, str]:
    environment = {
        **os.environ,
        "AMS_ENVIRONMENT": "test",
        "IDENTITY_DATABASE_URL": database_url,
        "IDENTITY_LISTEN": "127.0.0.1:1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "identity_svc",
        "verify-audit",
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@given(st.lists(st.tuples(texts, texts), max_size=3), st.lists(st.tuples(texts, texts, texts), max_size=2))
def test_no_two_records_have_the_same_bytes(
    details: list[tuple[str, str]], changes: list[tuple[str, str, str]]
) -> None:
    """Texts that run into each other are told apart: moving a letter to the next field changes the hash."""

    def stored(actor: str, action: str) -> ChainedRecord:
        parts = [{"field": f, "before": b, "after": a} for f, b, a in changes]
        return ChainedRecord(
            position=1,
            audit_id=uuid7(),
            occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
            actor=actor,
            action=action,
            resource="",
            resource_id="",
            details=json.dumps(dict(details)),
            request_id="",
            credential="",
            client_address="",
            changes=json.dumps(parts),
            stored_at=datetime(2026, 1, 1, tzinfo=UTC),
            record_hash=b"",
        )

    hashes = {chained_hash(b"", stored("ab", "c")), chained_hash(b"", stored("a", "bc"))}
    assert len(hashes) == 2
    assert list(ChainCheck(BEGINNING).problems([stored("ab", "c")])) != []


@pytest.mark.parametrize("text", ["", "1", "x:00", "0:" + "00" * 32, "1:00", "-1:" + "00" * 32])
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Checkpoint.parse(text)


def test_a_checkpoint_is_read_as_it_is_written() -> None:
    checkpoint = Checkpoint(12, bytes(range(32)))
    assert Checkpoint.parse(str(checkpoint)) == checkpoint


async def test_five_thousand_records_are_stored_at_once_within_seconds(database: Database) -> None:
    """Had a record to wait longer for each that is stored before it, ten thousand would take minutes."""
    await asyncio.wait_for(add(database, *map(record, range(5000))), 10)
    assert await problems(database) == []


def test_hashes_follow_the_published_rule() -> None:
    """Fixed for ever: what was noted outside must be found again by a later release."""
    stored = ChainedRecord(
        position=1,
        audit_id=UUID(int=1),
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        actor="system",
        action="a",
        resource="r",
        resource_id="1",
        details='{"b": "2", "a": "1"}',
        request_id="",
        credential="",
        client_address="",
        changes='[{"field": "f", "before": "", "after": "x"}]',
        stored_at=datetime(2026, 1, 1, tzinfo=UTC),
        record_hash=b"",
    )
    assert (
        chained_hash(BEGINNING.record_hash, stored).hex()
        == "76bca607d5bca88be27069e0ab5e142ec72dabd21e4a2fd29644ca0880fc07cf"
    )
