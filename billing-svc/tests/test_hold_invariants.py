"""What the database itself refuses or finds, should a program ever be wrong."""

from datetime import date

import asyncpg
import pytest
from ams_common.database import Database
from ams_common.ids import uuid7
from billing_svc.__main__ import ensure_commission_rate
from billing_svc.commission import parse_rate
from billing_svc.drafting import refresh_drafts
from billing_svc.invariants import check_invariants, load_invariants
from billing_svc.issuing import issue_merchant
from billing_svc.runs import RunScope
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


# What breaks each, once no constraint and no trigger stands in the way.
BREAKS = {
    "an invoice is the sum of its lines": (
        "UPDATE invoices SET subtotal = subtotal + 1, total = total + 1 WHERE status = 'draft'"
    ),
    "subtotal less commission is the total, in whole minor units": "UPDATE invoices SET commission = 0.305",
    "numbers have no gap": "UPDATE invoices SET sequence = 7 WHERE status = 'issued'",
    "the last number given is the last that is counted": "UPDATE invoice_numbers SET last_sequence = 7",
    "a line bills what has come since the lines before it": (
        "UPDATE invoice_lines SET billed_before = 1, amount = rated_amount - 1"
    ),
    "what is billed of a key is what it was rated at last": (
        "UPDATE invoice_lines SET rated_amount = rated_amount + 1"
    ),
    "no more is credited than was invoiced, and of a void invoice all": (
        "INSERT INTO invoices SELECT (note).* FROM (SELECT jsonb_populate_record(invoices,"
        " jsonb_build_object('invoice_id', gen_random_uuid(), 'kind', 'credit_note',"
        " 'corrects_invoice_id', invoice_id, 'subtotal', subtotal + 1)) AS note"
        " FROM invoices WHERE status = 'issued') AS notes"
    ),
    "nothing is invoiced that was not counted": "UPDATE usage_counters SET requests = 1",
    "no event is on two invoices": (
        "INSERT INTO invoice_usage"
        " SELECT gen_random_uuid(), counter_id, 1, 2, '{}', 0, 0, 0 FROM invoice_usage"
    ),
    "the usage behind an invoice exists, and so does the invoice": "UPDATE invoice_usage SET counter_id = 9",
    "a month's lines count the usage behind them": "UPDATE invoice_usage SET requests = 1",
    "whoever has a draft has an open month": "DELETE FROM open_months",
    "a service's days have one price": "UPDATE price_versions SET first_day = '2026-01-01'",
}

_WITHOUT_GUARDS = """
DO $$
DECLARE guard record;
BEGIN
    FOR guard IN SELECT conrelid::regclass AS place, conname FROM pg_constraint
                  WHERE contype = 'c' AND conrelid <> 0 AND connamespace = current_schema()::regnamespace LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', guard.place, guard.conname);
    END LOOP;
    FOR guard IN SELECT DISTINCT tgrelid::regclass AS place FROM pg_trigger WHERE NOT tgisinternal LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', guard.place);
    END LOOP;
END $$
"""


async def test_each_invariant_finds_what_breaks_it(
    database: Database[Store], events: Events, clock: SetClock
) -> None:
    """On a database of its own: the fixture `billing` finds nothing afterwards."""
    assert BREAKS.keys() == load_invariants().keys(), (
        "an invariant that nothing has ever broken holds nothing"
    )
    await ensure_commission_rate(database, parse_rate("0.1"))
    priced = await events.priced_service("1")
    await events.usage(Group(priced, uuid7(), "2026-10-10").total(3))
    await refresh_drafts(database, clock.now)
    async with database.change_by_system("test", audited=False) as change:
        scope = RunScope(uuid7(), date(2026, 10, 31), None, None)
        assert (await issue_merchant(change, priced.merchant_id, scope, clock.now, 30)).invoices == 1
    await events.usage(Group(priced, uuid7()).total(3))
    await refresh_drafts(database, clock.now)
    assert await check_invariants(database) == []
    for name, sql in BREAKS.items():
        async with database.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(_WITHOUT_GUARDS)
            await connection.execute(sql)
            found = [each for each, query in load_invariants().items() if await connection.fetch(query)]
            await transaction.rollback()
        assert name in found
