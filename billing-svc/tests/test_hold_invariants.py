"""What the database itself refuses or finds, should a program ever be wrong."""

import asyncpg
import pytest
from ams_common.database import Database
from ams_common.ids import uuid7
from billing_svc.__main__ import ensure_commission_rate
from billing_svc.commission import parse_rate
from billing_svc.drafting import refresh_drafts
from billing_svc.invariants import check_invariants, load_invariants
from billing_svc.store import Store
from billing_svc.testing import Billing, Events, Group, SetClock

REFUSED = [
    "UPDATE invoices SET total = total + 0.01",
    "UPDATE invoices SET commission = 0.305, total = subtotal - 0.305",
    "UPDATE invoices SET subtotal = -1, commission = 0, total = -1",
    "UPDATE invoices SET status = 'lost'",
    "INSERT INTO invoices SELECT (i).* FROM (SELECT jsonb_populate_record(invoices,"
    " jsonb_build_object('invoice_id', gen_random_uuid())) AS i FROM invoices) AS second",
    "UPDATE invoice_lines SET amount = amount + 0.01",
    "UPDATE usage_counters SET requests = -1",
    "UPDATE usage_counters SET charge_class = 'lost'",
]


async def test_a_wrong_figure_cannot_be_committed(billing: Billing, events: Events) -> None:
    await events.usage(Group(await events.priced_service("1"), uuid7()).total(3))
    before = await billing.draft()
    for sql in REFUSED:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await billing.execute(sql)
    assert await billing.draft() == before


FOUND = {
    "UPDATE invoices SET subtotal = subtotal + 1, total = total + 1": "the sum of its lines",
    "UPDATE invoice_numbers SET last_sequence = 7": "the last number given",
    "UPDATE usage_counters SET requests = 1": "nothing is invoiced that was not counted",
    "UPDATE invoice_usage SET requests = 1": "a month's lines count the usage behind them",
    "UPDATE invoice_usage SET counter_id = 9": "the usage behind an invoice exists",
    "INSERT INTO invoice_usage SELECT gen_random_uuid(), counter_id, 1, 2, '{}', 0, 0, 0"
    " FROM invoice_usage": ("no event is on two invoices"),
    "DELETE FROM open_months": "whoever has a draft",
    "UPDATE price_versions SET first_day = '2026-01-01'": "days have one price",
}


async def test_each_broken_invariant_is_found(
    database: Database[Store], events: Events, clock: SetClock
) -> None:
    """On a database of its own: the fixture `billing` finds nothing afterwards."""
    from billing_svc.issuing import issue_merchant
    from billing_svc.runs import RunScope

    await ensure_commission_rate(database, parse_rate("0.1"))
    priced = await events.priced_service("1")
    group = Group(priced, uuid7(), "2026-10-10")
    await events.usage(group.total(3))
    await refresh_drafts(database, clock.now)
    async with database.change_by_system("test", audited=False) as change:
        from datetime import date

        scope = RunScope(uuid7(), date(2026, 10, 31), None, None)
        assert (await issue_merchant(change, priced.merchant_id, scope, clock.now, 30)).invoices == 1
    await events.usage(Group(priced, uuid7()).total(3))
    await refresh_drafts(database, clock.now)
    assert await check_invariants(database) == []
    for sql, words in FOUND.items():
        async with database.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(sql.replace("UPDATE invoices", "UPDATE invoices") + _where(sql))
            broken = [name for name, query in load_invariants().items() if await connection.fetch(query)]
            await transaction.rollback()
        assert any(words in name for name in broken), sql


def _where(sql: str) -> str:
    return " WHERE status = 'draft'" if sql.startswith("UPDATE invoices") else ""
