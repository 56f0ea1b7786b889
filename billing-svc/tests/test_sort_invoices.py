"""ListInvoices, ListMerchantInvoices and ListConsumerInvoices: every order."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from ams_common.testing.lists import Ask, check_orders, walk
from billing_svc.testing import Billing, Events, Group, SetClock

MONTHS = ("2026-09", "2026-10", "2026-11")


def ask(billing: Billing, method: str, caller: UUID, role: Role.ValueType) -> Ask:
    async def call(**fields: Any) -> Any:
        return await billing.ask(method, pb.ListInvoicesRequest(**fields), caller, role)

    return call


SORT_KEYS: dict[str, Callable[[Any], Any]] = {
    "last_day": lambda invoice: invoice.last_day,
    "total": lambda invoice: (invoice.subtotal.currency_code, to_decimal(invoice.subtotal)),
    "created_at": lambda invoice: invoice.last_day,  # each month's were made at one moment, in turn
}


@pytest.fixture
async def sides(billing: Billing, events: Events, clock: SetClock) -> tuple[UUID, UUID]:
    """A merchant and a consumer with invoices of three months, two currencies and amounts of which some are
    equal and none sorts by its letters; others have some too. Some are paid or void."""
    merchant, consumer, others = uuid7(), uuid7(), (uuid7(), uuid7())
    euros = await events.priced_service("0.30", "EUR", merchant)
    dollars = await events.priced_service("0.30", "USD", merchant)
    elsewhere = [await events.priced_service("0.30", "EUR", other) for other in others]
    for number, month in enumerate(MONTHS):
        day = f"{month}-10"
        await events.usage(
            Group(euros, consumer, day).total(30),
            Group(dollars, consumer, day).total((9, 9, 1000)[number]),
            *(Group(priced, consumer, day).total(7) for priced in elsewhere),
            Group(euros, others[0], day).total(100),
        )
        clock.now = datetime(2026, 10 + number, 2, tzinfo=UTC)
        if number == 2:
            await billing.draft()
        else:
            await billing.issue(f"{month}-30" if number == 0 else "2026-10-31")
    await billing.execute(
        """
        UPDATE invoices SET status = CASE WHEN rank % 3 = 0 THEN 'paid' ELSE 'overdue' END,
               paid_at = CASE WHEN rank % 3 = 0 THEN now() END
        FROM (SELECT invoice_id, row_number() OVER (ORDER BY consumer_id, currency, merchant_id, last_day)
                  AS rank FROM invoices WHERE status = 'issued') AS ranked
        WHERE ranked.invoice_id = invoices.invoice_id AND rank % 3 < 2
        """
    )
    return merchant, consumer


async def test_an_admin_gets_all_invoices_in_every_order(billing: Billing, sides: tuple[UUID, UUID]) -> None:
    listed = ask(billing, "ListInvoices", uuid7(), ADMIN)
    await check_orders(listed, SORT_KEYS, "created_at desc")
    assert len(await walk(listed, page_size=5, order_by="total desc")) == 15


async def test_a_merchant_gets_its_own_in_every_order(billing: Billing, sides: tuple[UUID, UUID]) -> None:
    merchant, _ = sides
    listed = ask(billing, "ListMerchantInvoices", merchant, MERCHANT)
    await check_orders(listed, SORT_KEYS, "created_at desc")
    shown = await walk(listed, page_size=4, order_by="last_day")
    assert {(len(shown), invoice.merchant_id) for invoice in shown} == {(9, str(merchant))}


async def test_a_consumer_gets_its_own_in_every_order(billing: Billing, sides: tuple[UUID, UUID]) -> None:
    _, consumer = sides
    listed = ask(billing, "ListConsumerInvoices", consumer, CONSUMER)
    await check_orders(listed, SORT_KEYS, "created_at desc")
    shown = await walk(listed, page_size=4, order_by="total")
    assert {(len(shown), invoice.consumer_id) for invoice in shown} == {(8, str(consumer))}


async def test_a_consumers_page_token_tells_what_is_owed_and_not_what_the_merchant_gets(
    billing: Billing, sides: tuple[UUID, UUID]
) -> None:
    """Tokens are encoded alone: whoever has one can read the sort key in it."""
    _, consumer = sides
    wanted = pb.ListInvoicesRequest(page_size=1, order_by="total")
    shown = await billing.ask("ListConsumerInvoices", wanted, consumer, CONSUMER)
    padded = shown.next_page_token + "=" * (-len(shown.next_page_token) % 4)
    _, currency, amount, invoice_id = json.loads(base64.urlsafe_b64decode(padded))
    [invoice] = shown.invoices
    assert (currency, Decimal(amount), invoice_id) == (
        invoice.subtotal.currency_code,
        to_decimal(invoice.subtotal),
        invoice.invoice_id,
    )
    assert to_decimal((await billing.get(invoice_id)).total) < Decimal(amount)


async def test_a_period_is_sorted_by_itself(billing: Billing, sides: tuple[UUID, UUID]) -> None:
    listed = ask(billing, "ListInvoices", uuid7(), ADMIN)
    shown = await walk(listed, page_size=2, period="2026-11", order_by="total desc")
    totals = [SORT_KEYS["total"](invoice) for invoice in shown]
    assert len(totals) == 5
    assert totals == sorted(totals, reverse=True)
