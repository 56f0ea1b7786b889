"""What people ask of invoices and their runs is answered from indexes, however many there are."""

import re
from typing import Any

from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.paging import PageRequest
from ams_common.testing.plans import Question, check_list_plans
from billing_svc.store import Store

SOMEBODY = uuid7()
# Whose list is taken along which indexes, in each order.
_INDEXES = {
    "list_invoices": ("invoices_in_order", "invoices_by_day", "invoices_by_total"),
    "list_merchant_invoices": (
        "invoices_by_merchant",
        "invoices_by_merchant_day",
        "invoices_by_merchant_total",
    ),
    "list_consumer_invoices": (
        "invoices_by_consumer",
        "invoices_by_consumer_day",
        "invoices_by_consumer_subtotal",
    ),
}


def _invoices(**chosen: Any) -> dict[str, Any]:
    return {"first_day": None, "last_day": None, "status": "", "kind": "", **chosen}


_OWN: dict[str, dict[str, Any]] = {
    "list_invoices": _invoices(consumer_id=None),
    "list_merchant_invoices": _invoices(merchant_id=SOMEBODY, consumer_ids=None),
    "list_consumer_invoices": _invoices(consumer_id=SOMEBODY, merchant_id=None),
}


async def test_no_list_reads_a_whole_table(database: Database[Store]) -> None:
    questions: list[Question] = [
        *((Store, name, values) for name, values in _OWN.items()),
        (Store, "list_invoices", _invoices(consumer_id=SOMEBODY)),
        (Store, "list_merchant_invoices", _invoices(merchant_id=SOMEBODY, consumer_ids=[SOMEBODY])),
        (Store, "list_merchant_invoices", {**_OWN["list_merchant_invoices"], "status": "overdue"}),
        (Store, "list_runs", {"asked_by": SOMEBODY}),
        (Store, "list_runs", {"asked_by": None}),
    ]
    async with database.connection() as connection:
        await check_list_plans(connection, {Store}, questions)


async def test_a_page_of_invoices_is_read_along_its_order_and_nothing_is_sorted(
    database: Database[Store],
) -> None:
    async with database.connection() as connection:
        await _fill(connection)
        await connection.execute("SET plan_cache_mode = force_custom_plan")
        for name, indexes in _INDEXES.items():
            orders = Store.queries.orders_of()[name]
            assert len(orders) == 2 * len(indexes)
            for number, order_by in enumerate(orders):
                first = PageRequest(20, order_by=order_by)
                page = await Store.queries.page(connection, name, first, **_OWN[name])
                later = PageRequest(20, page.next_token, order_by)
                assert len(page.rows) == 20 and page.next_token
                for wanted in (first, later):
                    plan = await Store.queries.explain_page(connection, name, wanted, **_OWN[name])
                    # What an invoice's row has of credit notes is sorted, for that invoice alone.
                    lists = plan[: plan.index("SubPlan")]
                    assert re.search(rf"Scan (Backward )?using {indexes[number // 2]} on invoices", lists), (
                        plan
                    )
                    assert "Sort" not in lists, plan
                # Where it goes on is found by the index too, and not by reading what was shown.
                assert "ROW(" in lists.split("Index Cond:")[1].split("Filter:")[0], plan


async def _fill(connection: Any) -> None:
    """Very many issued invoices; a thousand of a merchant and a thousand of a consumer are the asker's."""
    # They have no lines, which an invoice can't be issued without.
    await connection.execute("ALTER TABLE invoices DISABLE TRIGGER USER")
    await connection.execute(
        """
        INSERT INTO invoices (invoice_id, kind, status, merchant_id, merchant_name, consumer_id, first_day,
            last_day, currency, minor_unit_digits, subtotal, commission_rate, commission, total, created_at,
            sequence, number, issued_at)
        SELECT gen_random_uuid(), 'invoice', 'issued',
            CASE WHEN n % 20 = 0 THEN $1::uuid ELSE gen_random_uuid() END, 'Geo',
            CASE WHEN n % 20 = 1 THEN $1::uuid ELSE gen_random_uuid() END,
            DATE '2026-01-01', DATE '2026-01-01' + n % 300, 'EUR', 2, n % 50, 0, 0, n % 50,
            now() - n * interval '1 minute', n, n::text, now()
        FROM generate_series(1, 20000) AS n
        """,
        SOMEBODY,
        timeout=600,
    )
    await connection.execute("ALTER TABLE invoices ENABLE TRIGGER USER")
    await connection.execute("ANALYZE invoices")
