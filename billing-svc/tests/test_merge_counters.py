"""What was counted by source, before totals were of groups, is added up and stays billed once."""

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest
from ams_common.ids import uuid7
from ams_common.migrations import migrations_of
from billing_svc.invariants import load_invariants

MERGES = "billing_svc/0004_counters_of_groups.sql"
MERCHANT, CONSUMER, SERVICE, VERSION = (UUID(int=number) for number in range(1, 5))
FIRST, VOID, AGAIN = (UUID(int=number) for number in range(5, 8))
COUNTER = """
INSERT INTO usage_counters (
    source, day, merchant_id, consumer_id, api_key_id, service_id, charge_class, requests, request_bytes,
    response_bytes, last_offset
)
VALUES ($1, '2026-11-10', $2, $3, $4, $5, 'served', $6, 10, 20, 99) RETURNING counter_id
"""
INVOICE = """
INSERT INTO invoices (
    invoice_id, kind, status, merchant_id, merchant_name, consumer_id, first_day, last_day, currency,
    minor_unit_digits, subtotal, commission_rate, commission, total, sequence, number, issued_at
)
VALUES ($1, 'invoice', $2, $3, '', $4, '2026-11-01', '2026-11-30', 'EUR', 2, 0, 0, 0, 0,
        $5::bigint, 'a number', now())
"""
LINE = """
INSERT INTO invoice_lines VALUES (
    $1, 1, 'adjustment', '', 0, $2, '', $3, '2026-11', '2026-11-01', '2026-11-30', 0, 'requests', $4::numeric,
    '[]', 0, 0, $4::numeric, 10, 20
)
"""


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


async def test_counters_of_two_sources_become_one_and_each_event_stays_on_one_invoice(
    connection: asyncpg.Connection,
) -> None:
    migrations = {each.name: each.sql for each in migrations_of("billing_svc")}
    for name in sorted(migrations):
        if name < MERGES:
            await connection.execute(migrations[name])
    await connection.execute("ALTER TABLE invoices DISABLE TRIGGER USER")
    await connection.execute("ALTER TABLE invoice_lines DISABLE TRIGGER USER")
    counters = [
        await connection.fetchval(COUNTER, source, MERCHANT, CONSUMER, UUID(int=9), SERVICE, requests)
        for source, requests in (("a/0", 7), ("a/1", 5))
    ]
    other = await connection.fetchval(COUNTER, "a/1", MERCHANT, CONSUMER, uuid7(), SERVICE, 3)
    for number, (invoice_id, status, quantity) in enumerate(
        [(FIRST, "issued", 8), (VOID, "void", 4), (AGAIN, "issued", 12)], start=1
    ):
        await connection.execute(INVOICE, invoice_id, status, MERCHANT, CONSUMER, number)
        await connection.execute(LINE, invoice_id, SERVICE, VERSION, quantity)
    await connection.executemany(
        "INSERT INTO invoice_usage VALUES ($1, $2, $3, $4, $5, 0, 0, $6)",
        [
            (FIRST, counters[0], -1, 40, 5, None),
            (FIRST, counters[1], -1, 30, 3, None),
            (VOID, counters[0], 40, 50, 2, AGAIN),
            (VOID, counters[1], 30, 60, 2, AGAIN),
            (AGAIN, counters[0], 40, 50, 2, None),
            (AGAIN, counters[1], 30, 60, 2, None),
        ],
    )
    await connection.execute(migrations[MERGES])
    kept = await connection.fetch(
        "SELECT counter_id, events, requests, request_bytes, last_offsets::text FROM usage_counters"
        " ORDER BY counter_id"
    )
    assert [tuple(row) for row in kept] == [
        (counters[0], 12, 12, 20, '{"a/0": 99, "a/1": 99}'),
        (other, 3, 3, 10, '{"a/1": 99}'),
    ]
    behind = await connection.fetch(
        "SELECT invoice_id, counter_id, after_events, last_events, requests, last_offsets::text, rebilled_by"
        " FROM invoice_usage ORDER BY rebilled_by NULLS FIRST, last_events"
    )
    assert [tuple(row) for row in behind] == [
        (FIRST, counters[0], 0, 8, 8, '{"a/0": 40, "a/1": 30}', None),
        (AGAIN, counters[0], 8, 12, 4, '{"a/0": 50, "a/1": 60}', None),
        (VOID, counters[0], 0, 4, 4, '{"a/0": 50, "a/1": 60}', AGAIN),
    ]
    of_usage = ("nothing is invoiced", "no event is on two", "the usage behind", "a month's lines count")
    for name, query in load_invariants().items():
        if name.startswith(of_usage):
            assert await connection.fetch(query) == [], name
