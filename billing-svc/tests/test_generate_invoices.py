"""Making draft invoices: exact figures, worked out by hand."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams_common.errors import FailedPreconditionError, InvalidArgumentError
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from billing_svc.testing import Billing, Events, PricedService, price_started, service_changed, usage_delta


def figures(invoice: pb.Invoice) -> tuple[Decimal, Decimal, Decimal]:
    """Subtotal, commission, total."""
    return to_decimal(invoice.subtotal), to_decimal(invoice.commission), to_decimal(invoice.total)


def amounts(*texts: str) -> tuple[Decimal, ...]:
    return tuple(Decimal(text) for text in texts)


EXAMPLES = [
    # 3 × 0.005 = 0.015, halfway: the even neighbour is 0.02; 10 % of 0.02 = 0.002 → 0.00
    ("0.005", "EUR", 3, ("0.02", "0.00", "0.02")),
    # 25 × 0.005 = 0.125, halfway: the even neighbour is 0.12; 0.012 → 0.01
    ("0.005", "EUR", 25, ("0.12", "0.01", "0.11")),
    # 27 × 0.005 = 0.135 → 0.14; 0.014 → 0.01
    ("0.005", "USD", 27, ("0.14", "0.01", "0.13")),
    # Yen have no decimals: 5 × 0.5 = 2.5 → 2; 0.2 → 0
    ("0.5", "JPY", 5, ("2", "0", "2")),
    # 7 × 0.5 = 3.5 → 4; 0.4 → 0
    ("0.5", "JPY", 7, ("4", "0", "4")),
    # 12 345 678 × 0.000000001 = 0.012345678 → 0.01
    ("0.000000001", "EUR", 12_345_678, ("0.01", "0.00", "0.01")),
    # 3 000 000 × 1.234567891 = 3 703 703.673 → 3 703 703.67; a tenth is 370 370.367 → 370 370.37
    ("1.234567891", "GBP", 3_000_000, ("3703703.67", "370370.37", "3333333.30")),
    # A free service still has its line.
    ("0", "CHF", 9, ("0.00", "0.00", "0.00")),
]


async def test_an_invoice_is_exact_to_the_minor_unit(billing: Billing, events: Events) -> None:
    for price, currency, quantity, expected in EXAMPLES:
        priced, consumer_id = await events.priced_service(price, currency), uuid7()
        await events.usage(usage_delta(priced, consumer_id, quantity))
        (invoice,) = await billing.generate(merchant_id=str(priced.merchant_id))
        assert figures(invoice) == amounts(*expected)
        moneys = (invoice.subtotal, invoice.commission, invoice.total)
        assert {money.currency_code for money in moneys} == {currency}
        (line,) = invoice.lines
        assert (line.service_id, line.service_name) == (str(priced.service_id), "Weather")
        assert (line.quantity, to_decimal(line.unit_price)) == (quantity, Decimal(price))
        assert to_decimal(line.amount) == Decimal(expected[0])
        assert (invoice.merchant_id, invoice.consumer_id) == (str(priced.merchant_id), str(consumer_id))
        assert (invoice.period, invoice.status) == ("2026-11", pb.INVOICE_DRAFT)
        assert invoice.commission_rate == "0.1"


async def test_each_line_is_rounded_once_and_the_subtotal_is_their_sum(
    billing: Billing, events: Events
) -> None:
    merchant_id, consumer_id = uuid7(), uuid7()
    for name in ("A", "B", "C"):
        priced = await events.priced_service("0.004", merchant_id=merchant_id, name=name)
        await events.usage(usage_delta(priced, consumer_id, 1))
    (invoice,) = await billing.generate()
    assert [to_decimal(line.amount) for line in invoice.lines] == [Decimal("0.00")] * 3
    assert figures(invoice) == amounts("0", "0", "0")
    assert [line.service_name for line in invoice.lines] == ["A", "B", "C"]


async def test_a_price_change_within_the_month_gives_two_lines(billing: Billing, events: Events) -> None:
    consumer_id, old = uuid7(), await events.priced_service("0.01")
    new = await events.new_price(old, "0.02", datetime(2026, 11, 10, tzinfo=UTC))
    await events.usage(usage_delta(new, consumer_id, 50), usage_delta(old, consumer_id, 100))
    (invoice,) = await billing.generate()
    assert [(line.price_version_id, line.quantity, to_decimal(line.amount)) for line in invoice.lines] == [
        (str(old.price_version_id), 100, Decimal("1.00")),
        (str(new.price_version_id), 50, Decimal("1.00")),
    ]
    assert figures(invoice) == amounts("2.00", "0.20", "1.80")


async def test_each_merchant_consumer_and_currency_has_an_invoice(billing: Billing, events: Events) -> None:
    merchant_id, one, two = uuid7(), uuid7(), uuid7()
    euro = await events.priced_service("1", "EUR", merchant_id)
    yen = await events.priced_service("100", "JPY", merchant_id)
    other = await events.priced_service("1", "EUR")
    await events.usage(
        usage_delta(euro, one, 1),
        usage_delta(yen, one, 1),
        usage_delta(euro, two, 2),
        usage_delta(other, one, 3),
    )
    found = {
        (i.merchant_id, i.consumer_id, i.subtotal.currency_code, i.subtotal.units)
        for i in await billing.generate()
    }
    assert found == {
        (str(merchant_id), str(one), "EUR", 1),
        (str(merchant_id), str(one), "JPY", 100),
        (str(merchant_id), str(two), "EUR", 2),
        (str(other.merchant_id), str(one), "EUR", 3),
    }


async def test_only_billable_requests_are_billed(billing: Billing, events: Events) -> None:
    priced, consumer_id = await events.priced_service("1"), uuid7()
    await events.usage(
        usage_delta(priced, consumer_id, 2, requests=7), usage_delta(priced, uuid7(), 0, requests=4)
    )
    (invoice,) = await billing.generate()
    assert (invoice.consumer_id, invoice.lines[0].quantity) == (str(consumer_id), 2)


async def test_making_them_again_changes_nothing_and_new_usage_refreshes_the_draft(
    billing: Billing, events: Events
) -> None:
    priced, consumer_id = await events.priced_service("1"), uuid7()
    await events.usage(usage_delta(priced, consumer_id, 2))
    (first,) = await billing.generate()
    assert await billing.generate() == [first]
    await events.usage(usage_delta(priced, consumer_id, 3))
    (second,) = await billing.generate()
    assert second.invoice_id == first.invoice_id
    assert figures(second) == amounts("5", "0.50", "4.50")
    assert [line.quantity for line in second.lines] == [5]


async def test_two_runs_at_once_make_each_invoice_once(billing: Billing, events: Events) -> None:
    priced_services = [await events.priced_service("1") for _ in range(3)]
    consumers = [uuid7() for _ in range(5)]
    await events.usage(*[usage_delta(priced, c, 1) for priced in priced_services for c in consumers])
    runs = [
        billing.generate(),
        billing.generate(),
        *[billing.generate_own(o.merchant_id) for o in priced_services],
    ]
    answers = await asyncio.gather(*runs)
    assert [len(answer) for answer in answers] == [15, 15, 5, 5, 5]
    assert len(await billing.rows("SELECT FROM invoices")) == 15
    assert len(await billing.rows("SELECT FROM invoice_lines")) == 15


async def test_an_issued_invoice_is_never_touched(billing: Billing, events: Events) -> None:
    priced, consumer_id = await events.priced_service("1"), uuid7()
    await events.usage(usage_delta(priced, consumer_id, 2))
    await billing.generate()
    await billing.rows("UPDATE invoices SET status = 'issued'")
    everything = "SELECT i.*, l.* FROM invoices i JOIN invoice_lines l USING (invoice_id)"
    before = await billing.rows(everything)
    await events.usage(usage_delta(priced, consumer_id, 3))
    assert await billing.generate() == []
    assert await billing.rows(everything) == before


async def test_a_price_that_has_not_arrived_is_refused_and_nothing_is_billed(
    billing: Billing, events: Events
) -> None:
    priced = await events.priced_service("1")
    unpriced = PricedService(priced.merchant_id, uuid7(), uuid7())
    consumer_id = uuid7()
    await events.usage(usage_delta(priced, consumer_id, 1), usage_delta(unpriced, consumer_id, 1))
    with pytest.raises(FailedPreconditionError) as caught:
        await billing.generate()
    assert caught.value.code == "price_unknown"
    assert caught.value.metadata == {
        "service_id": str(unpriced.service_id),
        "price_version_id": str(unpriced.price_version_id),
    }
    assert await billing.rows("SELECT FROM invoices") == []
    assert [audit.action for audit in await billing.audits()] == ["commission_rate.create"]

    await events.catalog(
        price_started(unpriced.price_version_id, unpriced.service_id, Decimal(1), "EUR", events.started_at)
    )
    with pytest.raises(FailedPreconditionError) as caught:
        await billing.generate()
    assert (caught.value.code, caught.value.metadata) == (
        "service_unknown",
        {"service_id": str(unpriced.service_id)},
    )
    await events.catalog(
        service_changed(unpriced.service_id, unpriced.merchant_id, "Late", events.started_at)
    )
    (invoice,) = await billing.generate()
    assert [line.service_name for line in invoice.lines] == ["Late", "Weather"]


async def test_a_price_of_another_service_does_not_count_as_the_price(
    billing: Billing, events: Events
) -> None:
    one, other = await events.priced_service("1"), await events.priced_service("2")
    mixed = PricedService(one.merchant_id, one.service_id, other.price_version_id)
    await events.usage(usage_delta(mixed, uuid7(), 1))
    with pytest.raises(FailedPreconditionError, match="price"):
        await billing.generate()


async def test_a_month_in_the_future_is_refused(billing: Billing) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        await billing.generate("2026-12")
    assert caught.value.code == "period_invalid"
    assert caught.value.violations[0].field == "period"


async def test_the_answer_is_capped_but_all_are_made(billing: Billing, events: Events) -> None:
    priced = await events.priced_service("1")
    await events.usage(*[usage_delta(priced, uuid7(), 1) for _ in range(205)])
    assert len(await billing.generate()) == 200
    assert len(await billing.rows("SELECT FROM invoices")) == 205


async def test_it_is_audited_with_its_month_and_merchant(billing: Billing) -> None:
    merchant_id = uuid7()
    assert await billing.generate_own(merchant_id) == []
    audit = (await billing.audits())[-1]
    assert (audit.action, audit.actor, audit.resource, audit.resource_id) == (
        "invoice.generate",
        str(merchant_id),
        "billing_period",
        "2026-11",
    )
    assert dict(audit.details) == {"merchant_id": str(merchant_id)}


async def test_usage_counts_for_its_own_month_only(billing: Billing, events: Events) -> None:
    priced, consumer_id = await events.priced_service("1"), uuid7()
    months = ["2026-11", "2026-01", "2025-12"]
    await events.usage(*[usage_delta(priced, consumer_id, n, m) for n, m in enumerate(months, start=1)])
    for quantity, month in enumerate(months, start=1):
        (invoice,) = await billing.generate(month)
        assert (invoice.period, invoice.lines[0].quantity) == (month, quantity)
        assert UUID(invoice.invoice_id).version == 7
