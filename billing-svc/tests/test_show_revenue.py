"""What a merchant has earned so far."""

from decimal import Decimal

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams_common.errors import FailedPreconditionError
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from billing_svc.commission import commission_of, total_of
from billing_svc.invoices import InvoiceContent, InvoiceKey, Line
from billing_svc.revenue import RevenueTotal, revenue_by_service, revenue_totals
from billing_svc.testing import Billing, Events, PricedService, usage_delta

MERCHANT_ID, SERVICE_ID = uuid7(), uuid7()


def draft(subtotal: str, quantity: int = 1, currency: str = "EUR", rate: str = "0.1") -> InvoiceContent:
    """One consumer's month of one service."""
    amount, key = Decimal(subtotal), InvoiceKey(MERCHANT_ID, uuid7(), currency)
    line = Line(SERVICE_ID, "Weather", uuid7(), quantity, amount / quantity, currency, amount)
    commission = commission_of(amount, Decimal(rate), currency)
    return InvoiceContent(key, (line,), amount, Decimal(rate), commission, total_of(amount, commission))


def totals(revenue: pb.GetMerchantRevenueResponse) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    """(gross, commission, net) by currency."""
    return {
        one.gross.currency_code: (to_decimal(one.gross), to_decimal(one.commission), to_decimal(one.net))
        for one in revenue.totals
    }


def test_commission_is_the_sum_of_what_the_invoices_take_not_a_part_of_the_sum() -> None:
    # 10 % of 0.05 is 0.005, half-even 0.00; of the sum 0.15 it would be 0.02.
    assert revenue_totals([draft("0.05"), draft("0.05"), draft("0.05")]) == [
        RevenueTotal("EUR", Decimal("0.15"), Decimal("0.00"), Decimal("0.15"))
    ]


def test_currencies_stay_apart_in_totals_and_services() -> None:
    drafts = [draft("7", 2, "JPY"), draft("1.20", 3), draft("0.80", 1)]
    assert [(one.currency, one.gross, one.net) for one in revenue_totals(drafts)] == [
        ("EUR", Decimal("2.00"), Decimal("1.80")),
        ("JPY", Decimal(7), Decimal(6)),
    ]
    assert [(one.currency, one.quantity, one.gross) for one in revenue_by_service(drafts)] == [
        ("EUR", 4, Decimal("2.00")),
        ("JPY", 2, Decimal(7)),
    ]


async def test_revenue_is_exactly_what_the_draft_invoices_come_to(billing: Billing, events: Events) -> None:
    first = await events.priced_service("0.005", name="A")
    second = await events.priced_service("0.0125", merchant_id=first.merchant_id, name="B")
    yen = await events.priced_service("0.5", "JPY", merchant_id=first.merchant_id, name="C")
    used = [
        usage_delta(priced, uuid7(), count * 7 + 1) for count in range(9) for priced in (first, second, yen)
    ]
    await events.usage(*used)
    revenue = await billing.revenue(first.merchant_id)
    assert revenue.period == "2026-11"
    invoices = await billing.generate_own(first.merchant_id)
    assert len(invoices) == 27
    for currency, (gross, commission, net) in totals(revenue).items():
        due = [one for one in invoices if one.subtotal.currency_code == currency]
        assert gross == sum(to_decimal(one.subtotal) for one in due)
        assert commission == sum(to_decimal(one.commission) for one in due)
        assert net == sum(to_decimal(one.total) for one in due) == gross - commission
    assert [(one.service_name, one.quantity) for one in revenue.services] == [
        (name, 9 + 7 * 36) for name in "ABC"
    ]
    by_service = {one.service_name: to_decimal(one.gross) for one in revenue.services}
    assert by_service["A"] + by_service["B"] == totals(revenue)["EUR"][0]
    assert by_service["C"] == totals(revenue)["JPY"][0]


async def test_revenue_counts_the_callers_own_services_and_the_asked_month_only(
    billing: Billing, events: Events
) -> None:
    mine, theirs, consumer_id = await events.priced_service("1"), await events.priced_service("1"), uuid7()
    await events.usage(
        usage_delta(mine, consumer_id, 4),
        usage_delta(mine, consumer_id, 10, "2026-10"),
        usage_delta(theirs, consumer_id, 1000),
    )
    assert totals(await billing.revenue(mine.merchant_id)) == {
        "EUR": (Decimal(4), Decimal("0.4"), Decimal("3.6"))
    }
    assert totals(await billing.revenue(mine.merchant_id, "2026-10"))["EUR"][0] == 10
    nobody = await billing.revenue(uuid7())
    assert (list(nobody.services), list(nobody.totals)) == ([], [])


async def test_revenue_is_not_shown_short_of_a_price(billing: Billing, events: Events) -> None:
    priced = PricedService(uuid7(), uuid7(), uuid7())
    await events.usage(usage_delta(priced, uuid7(), 1))
    with pytest.raises(FailedPreconditionError) as caught:
        await billing.revenue(priced.merchant_id)
    assert caught.value.code == "price_unknown"
