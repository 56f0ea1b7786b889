"""What a consumer has run up so far."""

from decimal import Decimal

import pytest
from ams_common.errors import FailedPreconditionError
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from billing_svc.testing import Billing, Events, PricedService, usage_delta


async def test_spend_is_priced_live_and_totalled_by_currency(billing: Billing, events: Events) -> None:
    consumer_id = uuid7()
    euro, more, yen = (
        await events.priced_service("0.005", name="A"),
        await events.priced_service("0.125", name="B"),
        await events.priced_service("0.5", "JPY", name="C"),
    )
    await events.usage(*[usage_delta(priced, consumer_id, 3) for priced in (yen, more, euro)])
    await events.usage(usage_delta(euro, uuid7(), 1000))
    spend = await billing.spend(consumer_id)
    assert spend.period == "2026-11"
    # 3 × 0.005 = 0.015 → 0.02; 3 × 0.125 = 0.375 → 0.38; 3 × 0.5 = 1.5 → 2
    assert [(line.service_name, line.quantity, to_decimal(line.amount)) for line in spend.lines] == [
        ("A", 3, Decimal("0.02")),
        ("B", 3, Decimal("0.38")),
        ("C", 3, Decimal(2)),
    ]
    assert {total.currency_code: to_decimal(total) for total in spend.totals} == {
        "EUR": Decimal("0.40"),
        "JPY": Decimal(2),
    }


async def test_spend_of_another_month_is_apart_and_none_is_empty(billing: Billing, events: Events) -> None:
    priced, consumer_id = await events.priced_service("1"), uuid7()
    await events.usage(usage_delta(priced, consumer_id, 4, "2026-10"))
    assert [line.quantity for line in (await billing.spend(consumer_id, "2026-10")).lines] == [4]
    spend = await billing.spend(consumer_id)
    assert (list(spend.lines), list(spend.totals)) == ([], [])


async def test_spend_is_not_shown_short_of_a_price(billing: Billing, events: Events) -> None:
    consumer_id = uuid7()
    await events.usage(usage_delta(PricedService(uuid7(), uuid7(), uuid7()), consumer_id, 1))
    with pytest.raises(FailedPreconditionError) as caught:
        await billing.spend(consumer_id)
    assert caught.value.code == "price_unknown"
