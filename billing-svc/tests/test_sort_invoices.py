"""ListInvoices, ListMerchantInvoices and ListConsumerInvoices: every order."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from ams_common.testing.lists import Ask, check_orders, walk
from billing_svc.testing import Billing, Events, usage_delta


def ask(billing: Billing, method: str, caller: UUID, role: Role.ValueType) -> Ask:
    async def call(**fields: Any) -> Any:
        return await billing.ask(method, getattr(pb, f"{method}Request")(**fields), caller, role)

    return call


SORT_KEYS: dict[str, Callable[[Any], Any]] = {
    "period": lambda invoice: invoice.period,
    "status": lambda invoice: pb.InvoiceStatus.Name(invoice.status),
    "total": lambda invoice: (invoice.total.currency_code, to_decimal(invoice.total)),
    "created_at": lambda invoice: invoice.period,  # each month's were made in one transaction, in turn
}


@pytest.fixture
async def sides(billing: Billing, events: Events) -> tuple[UUID, UUID]:
    """A merchant and a consumer with invoices of three months, two currencies and amounts of which some are
    equal and none sorts by its letters; others have some too."""
    merchant, consumer, other = uuid7(), uuid7(), uuid7()
    euros = await events.priced_service("0.30", "EUR", merchant)
    dollars = await events.priced_service("0.30", "USD", merchant)
    elsewhere = await events.priced_service("0.30", "EUR", other)
    for number, period in enumerate(("2026-09", "2026-10", "2026-11")):
        await events.usage(
            usage_delta(euros, consumer, 30, period),
            usage_delta(dollars, consumer, (9, 9, 1000)[number], period),
            usage_delta(elsewhere, consumer, 7, period),
            usage_delta(euros, other, 100, period),
        )
        await billing.generate(period)
    await billing.execute(
        """
        UPDATE invoices SET status = (ARRAY['draft', 'issued', 'paid', 'overdue'])[rank % 4 + 1]
        FROM (SELECT invoice_id, row_number() OVER (ORDER BY merchant_id, consumer_id, period, currency)
                  AS rank FROM invoices) AS ranked
        WHERE ranked.invoice_id = invoices.invoice_id
        """
    )
    return merchant, consumer


async def test_an_admin_gets_all_invoices_in_every_order(billing: Billing, sides: tuple[UUID, UUID]) -> None:
    listed = ask(billing, "ListInvoices", uuid7(), ADMIN)
    await check_orders(listed, SORT_KEYS, "created_at desc")
    assert len(await walk(listed, page_size=5, order_by="total desc")) == 12


async def test_a_merchant_gets_its_own_in_every_order(billing: Billing, sides: tuple[UUID, UUID]) -> None:
    merchant, _ = sides
    listed = ask(billing, "ListMerchantInvoices", merchant, MERCHANT)
    await check_orders(listed, SORT_KEYS, "created_at desc")
    shown = await walk(listed, page_size=4, order_by="status")
    assert {(len(shown), invoice.merchant_id) for invoice in shown} == {(9, str(merchant))}


async def test_a_consumer_gets_its_own_in_every_order(billing: Billing, sides: tuple[UUID, UUID]) -> None:
    _, consumer = sides
    listed = ask(billing, "ListConsumerInvoices", consumer, CONSUMER)
    await check_orders(listed, SORT_KEYS, "created_at desc")
    shown = await walk(listed, page_size=4, order_by="total")
    assert {(len(shown), invoice.consumer_id) for invoice in shown} == {(9, str(consumer))}


async def test_a_period_is_sorted_by_itself(billing: Billing, sides: tuple[UUID, UUID]) -> None:
    listed = ask(billing, "ListInvoices", uuid7(), ADMIN)
    shown = await walk(listed, page_size=2, period="2026-11", order_by="total desc")
    totals = [SORT_KEYS["total"](invoice) for invoice in shown]
    assert len(totals) == 4
    assert totals == sorted(totals, reverse=True)
