"""Issuing: once, numbered without gaps, and what comes late goes on the next."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, MERCHANT
from ams_common.database import Database
from ams_common.errors import InvalidArgumentError, PermissionDeniedError
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from ams_common.pseudonyms import Pseudonyms
from ams_rating.prices import Component, Meter, MonthlyFee, PerUnit, Price, Tier, Volume
from billing_svc.running import InvoiceRunner, begin_monthly_run, run_month, set_overdue
from billing_svc.runs import month_to_bill
from billing_svc.store import Store
from billing_svc.testing import DUE_DAYS, Billing, Events, Group, SetClock, merchant_changed

DECEMBER = datetime(2026, 12, 4, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def in_december(clock: SetClock) -> None:
    """November is over, and its grace time too."""
    clock.now = DECEMBER


def amounts(invoice: pb.Invoice) -> list[tuple[str, str, str]]:
    """Of each line: what was rated, what was billed before, the difference."""
    return [
        (
            f"{to_decimal(line.rated_amount):.2f}",
            f"{to_decimal(line.billed_before):.2f}",
            f"{to_decimal(line.amount):.2f}",
        )
        for line in invoice.lines
    ]


async def test_an_issued_invoice_has_a_number_a_due_day_and_its_drafts_id(
    billing: Billing, events: Events
) -> None:
    priced, consumer_id = await events.priced_service("1"), uuid7()
    await events.identity(merchant_changed(priced.merchant_id, "Weather Ltd"))
    await events.usage(Group(priced, consumer_id).total(3))
    (draft,) = await billing.draft()
    run = await billing.issue("2026-11-30")
    assert (run.status, run.merchants, run.merchants_done, run.invoices) == (pb.RUN_DONE, 1, 1, 1)
    (invoice,) = await billing.invoices()
    assert invoice.invoice_id == draft.invoice_id
    assert (invoice.status, invoice.number) == (pb.INVOICE_ISSUED, "INV-000001")
    assert invoice.due_on == "2027-01-03"
    assert invoice.issued_at.ToDatetime(UTC) == invoice.sent_at.ToDatetime(UTC) == DECEMBER
    assert (invoice.first_day, invoice.last_day) == ("2026-11-01", "2026-11-30")
    (told,) = await billing.notifications()
    assert told.user_id == str(consumer_id)
    assert told.invoice_issued.number == "INV-000001"
    assert told.invoice_issued.merchant_name == "Weather Ltd"
    assert to_decimal(told.invoice_issued.total) == 3
    audit = next(record for record in await billing.audits() if record.resource == "merchant")
    assert (audit.action, audit.actor, audit.details["invoices"]) == ("invoice.issue", "system", "1")


async def test_issuing_again_changes_nothing(billing: Billing, events: Events) -> None:
    priced = await events.priced_service("1")
    await events.usage(*[Group(priced, uuid7()).total(3) for _ in range(3)])
    await billing.issue("2026-11-30")
    before = await billing.invoices()
    for last_day in ("2026-11-30", "2026-11-15", "2026-12-03"):
        run = await billing.issue(last_day)
        assert (run.status, run.invoices) == (pb.RUN_DONE, 0)
    assert await billing.draft() == []
    assert await billing.invoices() == before


async def test_numbers_have_no_gap_for_each_merchant(billing: Billing, events: Events) -> None:
    one, two = await events.priced_service("1"), await events.priced_service("1")
    for day in ("2026-09-10", "2026-10-10", "2026-11-10"):
        await events.usage(*[Group(priced, uuid7(), day).total(1) for priced in (one, two) for _ in range(2)])
        await billing.issue(f"{day[:8]}30")
    for priced in (one, two):
        invoices = await billing.invoices(merchant_id=str(priced.merchant_id))
        assert [invoice.number for invoice in invoices] == [f"INV-{n:06d}" for n in range(1, 7)]


async def test_late_usage_is_an_adjustment_on_the_next(billing: Billing, events: Events) -> None:
    group = Group(await events.priced_service("0.1"), uuid7())
    december = group.on("2026-12-03")
    await events.usage(group.total(14))
    await billing.issue("2026-11-30")
    await events.usage(group.total(16), december.total(5))
    (draft,) = await billing.draft()
    assert [(line.month, line.kind) for line in draft.lines] == [
        ("2026-11", pb.ADJUSTMENT),
        ("2026-12", pb.USAGE),
    ]
    assert amounts(draft) == [("1.60", "1.40", "0.20"), ("0.50", "0.00", "0.50")]
    assert (draft.first_day, draft.last_day) == ("2026-12-01", "2026-12-31")
    assert to_decimal(draft.subtotal) == Decimal("0.70")
    # Of November alone it can be billed too.
    await billing.issue("2026-11-30")
    await billing.draft()
    draft, issued, late = await billing.invoices()
    assert amounts(draft) == [("0.50", "0.00", "0.50")]
    assert (amounts(late), late.number) == ([("1.60", "1.40", "0.20")], "INV-000002")
    assert (late.first_day, late.last_day) == ("2026-11-01", "2026-11-30")
    assert amounts(issued) == [("1.40", "0.00", "1.40")]


async def test_a_part_of_a_month_is_billed_and_the_rest_later(billing: Billing, events: Events) -> None:
    group = Group(await events.priced_service("0.005"), uuid7())
    await events.usage(
        group.on("2026-11-10").total(3), group.on("2026-11-15").total(2), group.on("2026-11-16").total(4)
    )
    await billing.issue("2026-11-15")
    (first,) = await billing.invoices()
    assert (amounts(first), first.lines[0].quantity) == ([("0.02", "0.00", "0.02")], "5")
    assert (first.first_day, first.last_day) == ("2026-11-01", "2026-11-15")
    (draft,) = await billing.draft()
    assert (draft.first_day, draft.lines[0].kind) == ("2026-11-16", pb.ADJUSTMENT)
    await billing.issue("2026-11-30")
    second = (await billing.invoices())[-1]
    # 9 × 0.005 = 0.045 → 0.04, rounded once over the month, whatever the parts.
    assert amounts(second) == [("0.04", "0.02", "0.02")]
    assert (second.first_day, second.last_day) == ("2026-11-16", "2026-11-30")


async def test_a_day_before_what_was_billed_bills_late_usage_only(billing: Billing, events: Events) -> None:
    group = Group(await events.priced_service("1"), uuid7())
    await events.usage(group.on("2026-11-20").total(5))
    await billing.issue("2026-11-30")
    await events.usage(group.on("2026-11-02").total(1))
    await billing.issue("2026-11-05")
    assert amounts((await billing.invoices())[-1]) == [("6.00", "5.00", "1.00")]


async def test_the_month_has_one_fee_though_an_earlier_price_was_used_late(
    billing: Billing, events: Events
) -> None:
    fee, dearer = (Price("EUR", (Component(None, MonthlyFee(Decimal(n))),)) for n in (5, 8))
    priced = await events.priced_service(fee)
    await events.new_price(priced, dearer, "2026-11-15")
    group = Group(priced, uuid7())
    await events.usage(group.on("2026-11-20").total(1))
    await billing.issue("2026-11-30")
    assert amounts((await billing.invoices())[0]) == [("8.00", "0.00", "8.00")]
    await events.usage(group.on("2026-11-02").total(1))
    await billing.draft()
    # 3 are owed to the consumer: nothing that is negative is billed, it stays for the next.
    assert (await billing.issue("2026-11-30")).invoices == 0
    assert await billing.draft() == []
    await events.usage(group.on("2026-12-02").total(1))
    (draft,) = await billing.draft()
    assert amounts(draft) == [("5.00", "0.00", "5.00"), ("0.00", "8.00", "-8.00"), ("8.00", "0.00", "8.00")]
    await billing.issue("2026-12-03")
    assert to_decimal((await billing.invoices())[-1].subtotal) == 5


async def test_a_volume_that_makes_the_month_cheaper_is_given_back(billing: Billing, events: Events) -> None:
    tiers = (Tier(10, Decimal(1)), Tier(None, Decimal("0.2")))
    group = Group(
        await events.priced_service(Price("EUR", (Component(Meter.REQUESTS, Volume(tiers)),))), uuid7()
    )
    await events.usage(group.on("2026-11-10").total(10))
    await billing.issue("2026-11-15")
    await events.usage(group.on("2026-11-20").total(10))
    await billing.issue("2026-11-30")
    await events.usage(group.on("2026-12-01").total(8))
    await billing.issue("2026-12-03")
    first, second = await billing.invoices()
    assert amounts(first) == [("10.00", "0.00", "10.00")]
    assert amounts(second) == [("4.00", "10.00", "-6.00"), ("8.00", "0.00", "8.00")]


async def test_nothing_to_pay_is_kept_and_neither_sent_nor_overdue(
    billing: Billing, events: Events, database: Database[Store]
) -> None:
    free, paid = await events.priced_service("0"), await events.priced_service("1")
    await events.usage(Group(free, uuid7()).total(3), Group(paid, uuid7()).total(3))
    await billing.issue("2026-11-30")
    assert len(await billing.notifications()) == 1
    assert await set_overdue(database, DECEMBER + timedelta(days=DUE_DAYS)) == 0
    assert await set_overdue(database, DECEMBER + timedelta(days=DUE_DAYS + 1)) == 1
    (nothing,) = await billing.invoices(merchant_id=str(free.merchant_id))
    assert (nothing.status, nothing.is_nothing_due, nothing.due_on) == (pb.INVOICE_ISSUED, True, "")
    assert not nothing.HasField("sent_at")
    (overdue,) = await billing.invoices(merchant_id=str(paid.merchant_id))
    assert (overdue.status, overdue.is_nothing_due) == (pb.INVOICE_OVERDUE, False)


async def test_more_calls_under_a_fee_alone_are_proved_too(billing: Billing, events: Events) -> None:
    fee = Price("EUR", (Component(None, MonthlyFee(Decimal(5))),))
    group = Group(await events.priced_service(fee), uuid7())
    await events.usage(group.total(2))
    await billing.issue("2026-11-30")
    await events.usage(group.total(3))
    await billing.issue("2026-11-30")
    assert [amounts(invoice) for invoice in await billing.invoices()] == [
        [("5.00", "0.00", "5.00")],
        [("5.00", "5.00", "0.00")],
    ]
    behind = await billing.rows("SELECT after_events, last_events, requests FROM invoice_usage ORDER BY 1")
    assert [tuple(row) for row in behind] == [(0, 2, 2), (2, 3, 1)]


async def test_an_invoice_keeps_exactly_which_events_are_behind_it(billing: Billing, events: Events) -> None:
    price = Price("EUR", (Component(Meter.MEGABYTES, PerUnit(Decimal(1))),))
    group = Group(await events.priced_service(price), uuid7())
    other = Group(group.priced, group.consumer_id, api_key_id=uuid7())
    await events.usage(group.total(5, first=40), other.total(7, first=9))
    await billing.issue("2026-11-30")
    await events.usage(group.total(6, first=40, second=1), group.on("2026-12-01").total(1, first=42))
    await billing.issue("2026-11-30")
    kept = await billing.rows(
        "SELECT number, day::text, after_events, u.last_events, u.last_offsets::text, u.requests,"
        " u.request_bytes, u.response_bytes FROM invoice_usage u JOIN invoices USING (invoice_id)"
        " JOIN usage_counters USING (counter_id) ORDER BY number, last_events"
    )
    assert [tuple(row) for row in kept] == [
        ("INV-000001", "2026-11-10", 0, 5, '{"first": 40}', 5, 50, 500),
        ("INV-000001", "2026-11-10", 0, 7, '{"first": 9}', 7, 70, 700),
        ("INV-000002", "2026-11-10", 5, 6, '{"first": 40, "second": 1}', 1, 10, 100),
    ]


async def test_consumers_are_chosen_by_pseudonym_or_id(
    billing: Billing, events: Events, pseudonyms: Pseudonyms
) -> None:
    priced, one, two = await events.priced_service("1"), uuid7(), uuid7()
    await events.usage(Group(priced, one).total(1), Group(priced, two).total(2))
    name = pseudonyms.of_consumer(priced.merchant_id, one)
    unknown = pseudonyms.of_consumer(priced.merchant_id, uuid7())
    assert (await billing.issue_own(priced.merchant_id, "2026-11-30", consumers=[unknown])).invoices == 0
    assert (await billing.issue("2026-11-30", consumers=[str(uuid7())])).merchants == 0
    assert (
        await billing.issue_own(priced.merchant_id, "2026-11-30", consumers=[unknown, name])
    ).invoices == 1
    (own,) = await billing.invoices()
    assert own.consumer_id == str(one)
    assert (await billing.issue("2026-11-30", consumers=[str(two)])).invoices == 1
    good = str(uuid7())
    with pytest.raises(InvalidArgumentError) as caught:
        await billing.issue(consumers=[good, "cst_aaaaaaaaaaaaaaaa"])
    assert [violation.field for violation in caught.value.violations] == ["consumers[1]"]
    with pytest.raises(InvalidArgumentError) as caught:
        await billing.issue_own(uuid7(), consumers=[good])
    assert [violation.field for violation in caught.value.violations] == ["consumers[0]"]


async def test_an_account_with_several_roles_acts_in_the_one_it_asks_for(
    billing: Billing, events: Events
) -> None:
    mine, other = await events.priced_service("1"), await events.priced_service("1")
    await events.usage(Group(mine, uuid7()).total(1), Group(other, uuid7()).total(1))

    async def issue(roles: tuple[int, ...], **fields: object) -> list[str]:
        request = pb.IssueInvoicesRequest(last_day="2026-11-30", **fields)  # type: ignore[arg-type]
        await billing.ask("IssueInvoices", request, mine.merchant_id, *roles)  # type: ignore[arg-type]
        await billing.work_off()
        return sorted(invoice.merchant_id for invoice in await billing.invoices() if invoice.number)

    # From the merchant's page, and without a word: its own, also if it names another.
    assert await issue((ADMIN, MERCHANT), merchant_id=str(other.merchant_id)) == [str(mine.merchant_id)]
    assert await issue((ADMIN, MERCHANT), role=MERCHANT) == [str(mine.merchant_id)]
    with pytest.raises(PermissionDeniedError):
        await issue((MERCHANT,), role=ADMIN)
    assert len(await issue((ADMIN, MERCHANT), role=ADMIN)) == 2


async def test_a_day_that_is_not_over_is_refused(billing: Billing) -> None:
    for day in ("2026-12-04", "2026-12-05"):
        with pytest.raises(InvalidArgumentError) as caught:
            await billing.issue(day)
        assert (caught.value.code, caught.value.violations[0].field) == ("last_day_invalid", "lastDay")
    assert (await billing.issue("2026-12-03")).status == pb.RUN_DONE


async def test_the_same_request_again_is_the_same_run(billing: Billing) -> None:
    merchant_id = uuid7()
    request = pb.IssueInvoicesRequest(last_day="2026-11-30", idempotency_key="once")
    first, second = [await billing.ask("IssueInvoices", request, merchant_id, MERCHANT) for _ in range(2)]
    assert first == second
    listed = await billing.ask("ListInvoiceRuns", pb.ListInvoiceRunsRequest(), merchant_id, MERCHANT)
    assert [run.invoice_run_id for run in listed.runs] == [first.invoice_run_id]


async def test_a_merchant_sees_the_runs_that_it_asked_for(
    billing: Billing, events: Events, pseudonyms: Pseudonyms
) -> None:
    merchant_id, consumer_id = uuid7(), uuid7()
    priced = await events.priced_service("1", merchant_id=merchant_id)
    unpriced = Group(priced, consumer_id)
    await events.usage(unpriced.total(1))
    await billing.execute("DELETE FROM price_versions")
    run = await billing.issue_own(merchant_id, "2026-11-30")
    await billing.issue("2026-11-30")
    answer = await billing.ask("ListInvoiceRuns", pb.ListInvoiceRunsRequest(), merchant_id, MERCHANT)
    (shown,) = answer.runs
    assert shown.invoice_run_id == run.invoice_run_id
    assert shown.problems[0].consumer_id == pseudonyms.of_consumer(merchant_id, consumer_id)
    everything = await billing.ask("ListInvoiceRuns", pb.ListInvoiceRunsRequest(), uuid7(), ADMIN)
    assert len(everything.runs) == 2


async def test_the_calendar_begins_a_month_once_its_grace_time_is_over(
    billing: Billing, events: Events, database: Database[Store]
) -> None:
    grace = timedelta(hours=72)
    assert month_to_bill(datetime(2026, 12, 3, 23, 59, tzinfo=UTC), grace) == "2026-10"
    assert month_to_bill(datetime(2026, 12, 4, tzinfo=UTC), grace) == "2026-11"
    await events.usage(Group(await events.priced_service("1"), uuid7()).total(1))
    begun = await asyncio.gather(*(begin_monthly_run(database, "2026-11", DECEMBER) for _ in range(4)))
    assert sorted(begun) == [False, False, False, True]
    await asyncio.gather(*(billing.work_off() for _ in range(2)))
    (run,) = (await billing.ask("ListInvoiceRuns", pb.ListInvoiceRunsRequest(), uuid7(), ADMIN)).runs
    assert (run.is_monthly, run.status, run.invoices) == (True, pb.RUN_DONE, 1)


async def test_the_command_takes_the_months_run_up_and_can_be_given_again(
    billing: Billing, events: Events, database: Database[Store]
) -> None:
    group = Group(await events.priced_service("1"), uuid7())
    await events.usage(group.total(1))
    runner = InvoiceRunner(database, due_days=DUE_DAYS, clock=billing.clock)
    first = await run_month(runner, database, "2026-11", DECEMBER)
    assert (first.is_monthly, first.invoices) == (True, 1)
    await events.usage(group.total(2))
    second = await run_month(runner, database, "2026-11", DECEMBER)
    assert (second.is_monthly, second.invoices) == (False, 1)
    assert (await run_month(runner, database, "2026-11", DECEMBER)).invoices == 0


async def test_runs_at_once_make_each_invoice_once(billing: Billing, events: Events) -> None:
    services = [await events.priced_service("1") for _ in range(6)]
    consumers = [uuid7() for _ in range(5)]
    await events.usage(*[Group(priced, consumer).total(1) for priced in services for consumer in consumers])
    request = pb.IssueInvoicesRequest(last_day="2026-11-30")
    for _ in range(3):
        await billing.ask("IssueInvoices", request, uuid7(), ADMIN)
    await asyncio.gather(*(billing.work_off() for _ in range(3)), billing.draft())
    assert len(await billing.invoices()) == 30
    assert await billing.draft() == []
    runs = (await billing.ask("ListInvoiceRuns", pb.ListInvoiceRunsRequest(), uuid7(), ADMIN)).runs
    assert [run.status for run in runs] == [pb.RUN_DONE] * 3
    assert sum(run.invoices for run in runs) == 30


async def test_one_merchants_fault_does_not_keep_the_others_back(billing: Billing, events: Events) -> None:
    good, bad = await events.priced_service("1"), await events.priced_service("1")
    await events.usage(Group(good, uuid7()).total(1), Group(bad, uuid7()).total(1))
    # What no release of ours has written can't be read.
    await billing.execute("UPDATE price_versions SET price = '{}' WHERE service_id = $1", bad.service_id)
    run = await billing.issue("2026-11-30")
    assert (run.status, run.merchants_done, run.invoices) == (pb.RUN_INCOMPLETE, 2, 1)
    (problem,) = run.problems
    assert (problem.merchant_id, problem.consumer_id, problem.code) == (str(bad.merchant_id), "", "internal")
    assert {UUID(invoice.merchant_id) for invoice in await billing.invoices()} == {good.merchant_id}
