"""What a merchant has earned so far."""

from decimal import Decimal

from ams.billing.v1 import billing_service_pb2 as pb
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from billing_svc.testing import Billing, Events, Group, PricedService


def totals(revenue: pb.GetMerchantRevenueResponse) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    """(gross, commission, net) by currency."""
    return {
        one.gross.currency_code: (to_decimal(one.gross), to_decimal(one.commission), to_decimal(one.net))
        for one in revenue.totals
    }


async def test_commission_is_the_sum_of_what_the_invoices_take_not_a_part_of_the_sum(
    billing: Billing, events: Events
) -> None:
    priced = await events.priced_service("0.05")
    await events.usage(*(Group(priced, uuid7()).total(1) for _ in range(3)))
    # 10 % of 0.05 is 0.005, half-even 0.00; of the sum 0.15 it would be 0.02.
    assert totals(await billing.revenue(priced.merchant_id)) == {
        "EUR": (Decimal("0.15"), Decimal(0), Decimal("0.15"))
    }


async def test_revenue_is_exactly_what_the_draft_invoices_come_to(billing: Billing, events: Events) -> None:
    first = await events.priced_service("0.005", name="A")
    second = await events.priced_service("0.0125", merchant_id=first.merchant_id, name="B")
    yen = await events.priced_service("0.5", "JPY", merchant_id=first.merchant_id, name="C")
    await events.usage(
        *[
            Group(priced, uuid7()).total(count * 7 + 1)
            for count in range(9)
            for priced in (first, second, yen)
        ]
    )
    revenue = await billing.revenue(first.merchant_id)
    assert revenue.period == "2026-11"
    invoices = await billing.draft()
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
        Group(mine, consumer_id).total(4),
        Group(mine, consumer_id, "2026-10-31").total(10),
        Group(theirs, consumer_id).total(1000),
    )
    assert totals(await billing.revenue(mine.merchant_id)) == {
        "EUR": (Decimal(4), Decimal("0.4"), Decimal("3.6"))
    }
    assert totals(await billing.revenue(mine.merchant_id, "2026-10"))["EUR"][0] == 10
    nobody = await billing.revenue(uuid7())
    assert (list(nobody.services), list(nobody.totals)) == ([], [])


async def test_a_price_that_has_not_arrived_hides_its_own_revenue_only(
    billing: Billing, events: Events
) -> None:
    priced = await events.priced_service("1")
    unpriced = PricedService(priced.merchant_id, uuid7(), uuid7())
    await events.usage(Group(unpriced, uuid7()).total(1), Group(priced, uuid7()).total(2))
    assert totals(await billing.revenue(priced.merchant_id))["EUR"][0] == 2
