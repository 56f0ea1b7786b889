"""Drafts follow usage by themselves: exact figures, worked out by hand."""

from datetime import UTC, datetime
from decimal import Decimal

from ams.billing.v1 import billing_service_pb2 as pb
from ams.usage.v1.events_pb2 import ABANDONED, CLIENT_ERROR, UNCHARGED
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from ams_rating.charging import ChargeRule
from ams_rating.prices import Component, Graduated, Meter, MonthlyFee, PerUnit, Price, Tier
from billing_svc.testing import (
    Billing,
    Events,
    Group,
    PricedService,
    merchant_changed,
    per_request,
    price_changed,
    service_changed,
)


def figures(invoice: pb.Invoice) -> tuple[str, str, str]:
    """Subtotal, commission, total."""
    moneys = (invoice.subtotal, invoice.commission, invoice.total)
    first, second, third = (format(to_decimal(money).normalize(), "f") for money in moneys)
    return first, second, third


EXAMPLES = [
    # 3 × 0.005 = 0.015, halfway: the even neighbour is 0.02; 10 % of 0.02 = 0.002 → 0.00
    ("0.005", "EUR", 3, ("0.02", "0", "0.02")),
    # 25 × 0.005 = 0.125, halfway: the even neighbour is 0.12; 0.012 → 0.01
    ("0.005", "EUR", 25, ("0.12", "0.01", "0.11")),
    # Yen have no decimals: 5 × 0.5 = 2.5 → 2; 0.2 → 0
    ("0.5", "JPY", 5, ("2", "0", "2")),
    # Dinars have three: 3 × 0.0005 = 0.0015 → 0.002; 0.0002 → 0.000
    ("0.0005", "KWD", 3, ("0.002", "0", "0.002")),
    # 3 000 000 × 1.234567891 = 3 703 703.673 → 3 703 703.67; a tenth is 370 370.367 → 370 370.37
    ("1.234567891", "GBP", 3_000_000, ("3703703.67", "370370.37", "3333333.3")),
    # A free service still has its line.
    ("0", "CHF", 9, ("0", "0", "0")),
]


async def test_a_draft_is_exact_to_the_minor_unit(billing: Billing, events: Events) -> None:
    for price, currency, quantity, expected in EXAMPLES:
        priced, consumer_id = await events.priced_service(price, currency), uuid7()
        await events.identity(merchant_changed(priced.merchant_id, "Weather Ltd"))
        await events.usage(Group(priced, consumer_id).total(quantity))
        await billing.draft()
        (invoice,) = await billing.invoices(merchant_id=str(priced.merchant_id))
        assert figures(invoice) == expected
        (line,) = invoice.lines
        assert (line.service_id, line.service_name) == (str(priced.service_id), "Weather")
        assert (line.quantity, line.kind, line.month) == (str(quantity), pb.USAGE, "2026-11")
        assert (line.meter, line.component) == (1, 0)
        assert to_decimal(line.rated_amount) == to_decimal(line.amount) == Decimal(expected[0])
        assert (invoice.status, invoice.kind, invoice.number) == (pb.INVOICE_DRAFT, pb.INVOICE, "")
        assert (invoice.first_day, invoice.last_day) == ("2026-11-01", "2026-11-30")
        assert (invoice.merchant_name, invoice.commission_rate) == ("Weather Ltd", "0.1")


async def test_a_price_without_components_is_kept_as_proof_of_use(billing: Billing, events: Events) -> None:
    priced = await events.priced_service(Price("EUR"))
    await events.usage(Group(priced, uuid7()).total(7))
    (invoice,) = await billing.draft()
    assert figures(invoice) == ("0", "0", "0")
    assert [(line.quantity, line.description) for line in invoice.lines] == [("7", "Free")]


async def test_a_line_tells_how_each_part_of_it_was_rated(billing: Billing, events: Events) -> None:
    tiers = (Tier(10, Decimal(0)), Tier(20, Decimal("0.5")), Tier(None, Decimal("0.1"), Decimal(2)))
    priced = await events.priced_service(
        Price("EUR", (Component(Meter.REQUESTS, Graduated(tiers)), Component(None, MonthlyFee(Decimal(5)))))
    )
    await events.usage(Group(priced, uuid7()).total(25))
    (listed,) = await billing.draft()
    invoice = await billing.get(listed.invoice_id)
    usage, fee = invoice.lines
    steps = [(getattr(step, "from"), step.to, step.quantity, step.amount) for step in usage.steps]
    assert steps == [("0", "10", "10", "0"), ("10", "20", "10", "5"), ("20", "", "5", "2.5")]
    assert (fee.meter, fee.quantity, to_decimal(fee.amount)) == (0, "1", Decimal(5))
    assert figures(invoice) == ("12.5", "1.25", "11.25")
    assert [len(line.steps) for line in listed.lines] == [0, 0]  # a list has none


async def test_each_line_is_rounded_once_and_the_subtotal_is_their_sum(
    billing: Billing, events: Events
) -> None:
    merchant_id, consumer_id = uuid7(), uuid7()
    for name in ("A", "B", "C"):
        priced = await events.priced_service("0.004", merchant_id=merchant_id, name=name)
        await events.usage(Group(priced, consumer_id).total(1))
    (invoice,) = await billing.draft()
    assert [to_decimal(line.amount) for line in invoice.lines] == [Decimal("0.00")] * 3
    assert figures(invoice) == ("0", "0", "0")
    assert [line.service_name for line in invoice.lines] == ["A", "B", "C"]


async def test_usage_is_rated_by_the_price_of_its_day(billing: Billing, events: Events) -> None:
    """Whatever a snapshot said: a version holds from its day on, and before the first the first."""
    priced, consumer_id = await events.priced_service("0.01"), uuid7()
    group = Group(priced, consumer_id)
    await events.usage(
        *(group.on(day).total(n) for day, n in (("2026-11-09", 100), ("2026-11-10", 20), ("2025-12-31", 1)))
    )
    await billing.draft()
    later = await events.new_price(priced, "0.02", "2026-11-10")
    (invoice,) = await billing.draft()
    shown = [
        (line.month, line.price_version_id, line.first_day, line.last_day, line.quantity)
        for line in invoice.lines
    ]
    first = str(priced.price_version_id)
    assert shown == [
        ("2025-12", first, "2025-12-01", "2025-12-31", "1"),
        ("2026-11", first, "2026-11-01", "2026-11-09", "100"),
        ("2026-11", str(later), "2026-11-10", "2026-11-30", "20"),
    ]
    assert figures(invoice) == ("1.41", "0.14", "1.27")


async def test_a_price_taken_back_before_it_starts_changes_nothing(billing: Billing, events: Events) -> None:
    priced = await events.priced_service("1")
    version_id, starts_at = uuid7(), datetime(2026, 11, 5, tzinfo=UTC)
    made = price_changed(version_id, priced.service_id, per_request("7"), starts_at)
    taken_back = price_changed(version_id, priced.service_id, per_request("7"), starts_at, starts_at)
    await events.usage(Group(priced, uuid7()).total(3))
    await events.catalog(made)
    (invoice,) = await billing.draft()
    assert figures(invoice)[0] == "21"
    await events.catalog(taken_back, made)
    (invoice,) = await billing.draft()
    assert (figures(invoice)[0], invoice.lines[0].price_version_id) == ("3", str(priced.price_version_id))


async def test_each_merchant_consumer_and_currency_has_a_draft(billing: Billing, events: Events) -> None:
    merchant_id, one, two = uuid7(), uuid7(), uuid7()
    euro = await events.priced_service("1", "EUR", merchant_id)
    yen = await events.priced_service("100", "JPY", merchant_id)
    other = await events.priced_service("1", "EUR")
    await events.usage(
        Group(euro, one).total(1),
        Group(yen, one).total(1),
        Group(euro, two).total(2),
        Group(other, one).total(3),
    )
    found = {
        (i.merchant_id, i.consumer_id, i.subtotal.currency_code, i.subtotal.units)
        for i in await billing.draft()
    }
    assert found == {
        (str(merchant_id), str(one), "EUR", 1),
        (str(merchant_id), str(one), "JPY", 100),
        (str(merchant_id), str(two), "EUR", 2),
        (str(other.merchant_id), str(one), "EUR", 3),
    }


async def test_what_the_prices_rule_gives_away_is_not_billed(billing: Billing, events: Events) -> None:
    each = (Component(Meter.REQUESTS, PerUnit(Decimal(1))),)
    charging = await events.priced_service(Price("EUR", each), name="A")
    giving = await events.priced_service(
        Price("EUR", each, ChargeRule(is_client_error_free=True, is_abandoned_free=True)),
        merchant_id=charging.merchant_id,
        name="B",
    )
    consumer_id, nobody = uuid7(), uuid7()
    for priced in (charging, giving):
        await events.usage(
            Group(priced, consumer_id).total(1),
            Group(priced, consumer_id, charge_class=CLIENT_ERROR).total(10),
            Group(priced, consumer_id, charge_class=ABANDONED).total(100),
            Group(priced, consumer_id, charge_class=UNCHARGED).total(1000),
            Group(priced, nobody, charge_class=UNCHARGED).total(1000),
        )
    await events.usage(Group(giving, nobody, charge_class=CLIENT_ERROR).total(5))
    (invoice,) = await billing.draft()
    assert invoice.consumer_id == str(consumer_id)
    assert [(line.service_name, line.quantity) for line in invoice.lines] == [("A", "111"), ("B", "1")]


async def test_new_usage_refreshes_the_draft_and_the_same_usage_again_does_not(
    billing: Billing, events: Events
) -> None:
    group = Group(await events.priced_service("1"), uuid7())
    await events.usage(group.total(2))
    (first,) = await billing.draft()
    await events.usage(group.total(2), group.total(1))
    assert await billing.draft() == [first]
    await events.usage(group.total(5))
    billing.clock.now = datetime(2026, 11, 16, tzinfo=UTC)
    (second,) = await billing.draft()
    assert second.invoice_id == first.invoice_id
    assert second.updated_at.ToDatetime(UTC) == billing.clock.now
    assert figures(second) == ("5", "0.5", "4.5")


async def test_groups_of_keys_and_projects_are_summed_for_their_own_month(
    billing: Billing, events: Events
) -> None:
    group = Group(await events.priced_service("1"), uuid7())
    other_key = Group(group.priced, group.consumer_id, api_key_id=uuid7(), project_id=uuid7())
    of_project = Group(group.priced, group.consumer_id, project_id=uuid7())
    await events.usage(
        group.total(1), other_key.total(10), of_project.total(100), group.on("2026-10-31").total(1000)
    )
    (invoice,) = await billing.draft()
    assert [(line.month, line.quantity) for line in invoice.lines] == [
        ("2026-10", "1000"),
        ("2026-11", "111"),
    ]
    assert (invoice.first_day, invoice.last_day) == ("2026-10-01", "2026-11-30")


async def test_a_price_that_has_not_arrived_blocks_its_own_invoice_only(
    billing: Billing, events: Events
) -> None:
    priced = await events.priced_service("1")
    unpriced = PricedService(priced.merchant_id, uuid7(), uuid7())
    blocked, other = uuid7(), uuid7()
    await events.usage(
        Group(priced, blocked).total(1), Group(unpriced, blocked).total(1), Group(priced, other).total(2)
    )
    assert {figures(draft)[0] for draft in await billing.draft()} == {"1", "2"}
    problems = await billing.rows("SELECT consumer_id, service_id, code FROM rating_problems")
    assert [tuple(row) for row in problems] == [(blocked, unpriced.service_id, "price_unknown")]

    billing.clock.now = datetime(2026, 12, 4, tzinfo=UTC)
    run = await billing.issue("2026-11-30")
    assert (run.status, run.invoices) == (pb.RUN_INCOMPLETE, 1)
    (problem,) = run.problems
    assert (problem.consumer_id, problem.code) == (str(blocked), "price_unknown")

    await events.catalog(
        service_changed(unpriced.service_id, unpriced.merchant_id, "Late", events.started_at),
        price_changed(unpriced.price_version_id, unpriced.service_id, per_request("5"), events.started_at),
    )
    (draft,) = await billing.draft()
    assert [line.service_name for line in draft.lines] == ["Late", "Weather"]
    assert await billing.rows("SELECT FROM rating_problems") == []
    run = await billing.issue("2026-11-30")
    assert (run.status, run.invoices, list(run.problems)) == (pb.RUN_DONE, 1, [])
    assert sorted(figures(invoice)[0] for invoice in await billing.invoices()) == ["2", "6"]


async def test_a_new_name_reaches_the_draft(billing: Billing, events: Events) -> None:
    priced = await events.priced_service("1", name="Old")
    await events.usage(Group(priced, uuid7()).total(1))
    await billing.draft()
    await events.catalog(
        service_changed(priced.service_id, priced.merchant_id, "New", datetime(2026, 2, 1, tzinfo=UTC))
    )
    await events.catalog(service_changed(priced.service_id, priced.merchant_id, "Old", events.started_at))
    (invoice,) = await billing.draft()
    assert [line.service_name for line in invoice.lines] == ["New"]
