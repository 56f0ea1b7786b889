"""Runs that make the same invoices take turns; others don't wait."""

import asyncio

import pytest
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.testing.eventually import eventually
from billing_svc.store import Store
from billing_svc.testing import Billing, Events, usage_delta


@pytest.mark.parametrize("holder_is_admin", [True, False])
async def test_a_run_that_waited_bills_what_came_meanwhile(
    billing: Billing, events: Events, database: Database[Store], holder_is_admin: bool
) -> None:
    priced, consumer_id = await events.priced_service("1"), uuid7()
    await events.usage(usage_delta(priced, consumer_id, 1))
    held = None if holder_is_admin else priced.merchant_id

    async def is_waiting() -> bool:
        return bool(await billing.rows("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))

    async with database.change_by_system("test", audited=False) as change:
        await change.store.lock_month("2026-11", held)
        run = billing.generate_own(priced.merchant_id) if holder_is_admin else billing.generate()
        waiting = asyncio.ensure_future(run)
        await eventually(is_waiting)
        await events.usage(usage_delta(priced, consumer_id, 2))
    (invoice,) = await waiting
    assert invoice.lines[0].quantity == 3


async def test_merchants_do_not_wait_for_each_other_nor_months_for_months(
    billing: Billing, events: Events, database: Database[Store]
) -> None:
    mine = await events.priced_service("1")
    await events.usage(usage_delta(mine, uuid7(), 1), usage_delta(mine, uuid7(), 1, "2026-10"))
    other = uuid7()
    async with database.change_by_system("test", audited=False) as change:
        await change.store.lock_month("2026-11", other)
        assert len(await billing.generate_own(mine.merchant_id)) == 1
        assert len(await billing.generate("2026-10")) == 1
