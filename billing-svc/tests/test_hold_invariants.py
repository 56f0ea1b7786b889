"""What the database itself refuses, should a program ever be wrong."""

import asyncpg
import pytest
from ams_common.ids import uuid7
from billing_svc.testing import Billing, Events, usage_delta

WRONG = [
    "UPDATE invoices SET total = total + 0.01",
    "UPDATE invoices SET subtotal = subtotal + 1, total = total + 1",
    "UPDATE invoices SET commission = 0.305, total = subtotal - 0.305",
    "UPDATE invoices SET status = 'lost'",
    "INSERT INTO invoices SELECT gen_random_uuid(), period, merchant_id, consumer_id, currency, 2, 'draft',"
    " 0, 0, 0, 0 FROM invoices",
    "UPDATE invoice_lines SET amount = amount + 0.01",
    "UPDATE invoice_lines SET quantity = quantity + 1",
    "UPDATE invoice_lines SET quantity = 0, amount = 0",
    "DELETE FROM invoice_lines",
    "UPDATE billing_counters SET billable_requests = requests + 1",
    "UPDATE billing_counters SET period = '2026-13'",
]


async def test_a_wrong_figure_cannot_be_committed(billing: Billing, events: Events) -> None:
    priced = await events.priced_service("1")
    await events.usage(usage_delta(priced, uuid7(), 3))
    (invoice,) = await billing.generate()
    for sql in WRONG:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await billing.rows(sql)
    assert await billing.generate() == [invoice]
