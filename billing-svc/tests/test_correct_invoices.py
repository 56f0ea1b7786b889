"""What becomes of an issued invoice: paid, credited, void, sent again; never changed."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams_common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
from ams_common.ids import uuid7
from ams_common.money import to_decimal, to_money
from billing_svc.testing import Billing, Events, Group, SetClock

DECEMBER = datetime(2026, 12, 4, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def in_december(clock: SetClock) -> None:
    clock.now = DECEMBER


@pytest.fixture
async def group(events: Events) -> Group:
    """A consumer with 30 calls at EUR 0.33 each: 9.90."""
    made = Group(await events.priced_service("0.33"), uuid7())
    await events.usage(made.total(30))
    return made


@pytest.fixture
async def invoice(billing: Billing, group: Group) -> pb.Invoice:
    """The group's, issued."""
    await billing.issue("2026-11-30")
    (found,) = await billing.invoices()
    return found


async def credit(
    billing: Billing,
    invoice_id: str,
    amount: str,
    *,
    user_id: UUID | None = None,
    role: Role.ValueType = ADMIN,
    **fields: Any,
) -> pb.Invoice:
    request = pb.CreateCreditNoteRequest(
        invoice_id=invoice_id, amount=to_money(Decimal(amount), "EUR"), reason="Slow answers", **fields
    )
    note: pb.Invoice = await billing.ask("CreateCreditNote", request, user_id or uuid7(), role)
    return note


async def test_paid_is_paid(billing: Billing, group: Group, invoice: pb.Invoice) -> None:
    request = pb.MarkInvoicePaidRequest(invoice_id=invoice.invoice_id)
    paid = await billing.ask("MarkInvoicePaid", request, group.priced.merchant_id, MERCHANT)
    assert (paid.status, paid.paid_at.ToDatetime(UTC)) == (pb.INVOICE_PAID, DECEMBER)
    assert paid.consumer_id == ""
    with pytest.raises(FailedPreconditionError) as caught:
        await billing.ask("MarkInvoicePaid", request, uuid7(), ADMIN)
    assert (caught.value.code, caught.value.metadata["status"]) == ("invoice_status_wrong", "paid")
    with pytest.raises(FailedPreconditionError):
        await billing.void(invoice.invoice_id)
    assert (await billing.audits())[-1].action == "invoice.mark_paid"


async def test_a_credit_note_names_what_it_corrects_and_takes_commission_back(
    billing: Billing, group: Group, invoice: pb.Invoice
) -> None:
    note = await credit(billing, invoice.invoice_id, "3.45", idempotency_key="once")
    assert await credit(billing, invoice.invoice_id, "3.45", idempotency_key="once", user_id=uuid7()) != note
    assert (note.kind, note.status, note.number) == (pb.CREDIT_NOTE, pb.INVOICE_ISSUED, "CN-000001")
    assert note.corrects_invoice_id == invoice.invoice_id
    assert (to_decimal(note.subtotal), to_decimal(note.commission)) == (Decimal("3.45"), Decimal("0.34"))
    (line,) = note.lines
    assert (line.kind, line.description) == (pb.CREDIT, "Credit of INV-000001: Slow answers")
    corrected = await billing.get(invoice.invoice_id)
    assert to_decimal(corrected.credited) == Decimal("6.90")
    assert (corrected.subtotal, corrected.lines[0].amount) == (invoice.subtotal, invoice.lines[0].amount)
    told = [each.invoice_issued for each in await billing.notifications()]
    assert [(each.number, each.is_credit_note) for each in told] == [
        ("INV-000001", False),
        ("CN-000001", True),
        ("CN-000002", True),
    ]


async def test_no_more_is_credited_than_was_invoiced_and_bit_by_bit_all_of_it(
    billing: Billing, invoice: pb.Invoice
) -> None:
    notes = [await credit(billing, invoice.invoice_id, amount) for amount in ("3.33", "3.33", "3.24")]
    with pytest.raises(FailedPreconditionError) as caught:
        await credit(billing, invoice.invoice_id, "0.01")
    assert caught.value.code == "credit_too_high"
    commissions = [to_decimal(note.commission) for note in notes]
    assert sum(commissions) == to_decimal(invoice.commission)
    assert (await billing.get(invoice.invoice_id)).is_nothing_due
    with pytest.raises(FailedPreconditionError) as caught:
        request = pb.MarkInvoicePaidRequest(invoice_id=invoice.invoice_id)
        await billing.ask("MarkInvoicePaid", request, uuid7(), ADMIN)
    assert caught.value.code == "nothing_due"


async def test_an_amount_that_is_none_is_refused(billing: Billing, invoice: pb.Invoice) -> None:
    for amount in ("0", "-1", "0.001"):
        with pytest.raises(InvalidArgumentError) as caught:
            await credit(billing, invoice.invoice_id, amount)
        assert (caught.value.code, caught.value.violations[0].field) == ("amount_invalid", "amount")
    request = pb.CreateCreditNoteRequest(
        invoice_id=invoice.invoice_id, amount=to_money(Decimal(1), "USD"), reason="x"
    )
    with pytest.raises(InvalidArgumentError):
        await billing.ask("CreateCreditNote", request, uuid7(), ADMIN)


async def test_an_invoice_and_its_credit_notes_name_each_other(
    billing: Billing, group: Group, invoice: pb.Invoice
) -> None:
    assert not invoice.credit_notes
    made = [await credit(billing, invoice.invoice_id, amount) for amount in ("1", "2.50")]
    request = pb.GetInvoiceRequest(invoice_id=invoice.invoice_id)
    for user_id, role in (
        (group.priced.merchant_id, MERCHANT),
        (group.consumer_id, CONSUMER),
        (uuid7(), ADMIN),
    ):
        found = await billing.ask("GetInvoice", request, user_id, role)
        assert [
            (note.credit_note_id, note.number, to_decimal(note.amount), note.reason)
            for note in found.credit_notes
        ] == [
            (made[0].invoice_id, "CN-000001", Decimal("1.00"), "Slow answers"),
            (made[1].invoice_id, "CN-000002", Decimal("2.50"), "Slow answers"),
        ]
        assert [note.issued_at for note in found.credit_notes] == [note.issued_at for note in made]
        assert found.corrects_number == ""
        for note in found.credit_notes:
            of_note = pb.GetInvoiceRequest(invoice_id=note.credit_note_id)
            read = await billing.ask("GetInvoice", of_note, user_id, role)
            assert (read.corrects_invoice_id, read.corrects_number) == (invoice.invoice_id, "INV-000001")
            assert not read.credit_notes


async def test_a_void_invoice_is_credited_whole_and_its_usage_is_billed_anew(
    billing: Billing, events: Events, group: Group, invoice: pb.Invoice
) -> None:
    await credit(billing, invoice.invoice_id, "1")
    await events.usage(group.total(31))
    await billing.issue("2026-11-30")
    void = await billing.void(invoice.invoice_id, "Wrong address")
    assert (void.status, to_decimal(void.credited)) == (pb.INVOICE_VOID, Decimal("9.90"))
    notes = await billing.invoices(kind=pb.CREDIT_NOTE)
    assert [(note.number, to_decimal(note.subtotal)) for note in notes] == [
        ("CN-000001", Decimal("1.00")),
        ("CN-000002", Decimal("8.90")),
    ]
    assert sum(to_decimal(note.commission) for note in notes) == to_decimal(invoice.commission)
    (draft,) = await billing.draft()
    (line,) = draft.lines
    assert (line.kind, line.quantity) == (pb.ADJUSTMENT, "31")
    assert (to_decimal(line.rated_amount), to_decimal(line.billed_before)) == (
        Decimal("10.23"),
        Decimal("0.33"),
    )
    await billing.issue("2026-11-30")
    again = (await billing.invoices(kind=pb.INVOICE))[-1]
    assert (again.number, to_decimal(again.subtotal)) == ("INV-000003", Decimal("9.90"))
    assert await billing.draft() == []
    behind = await billing.rows(
        "SELECT number, after_events, last_events, rebilled_by IS NULL FROM invoice_usage"
        " JOIN invoices USING (invoice_id) ORDER BY number"
    )
    assert [tuple(row) for row in behind] == [
        ("INV-000001", 0, 30, False),
        ("INV-000002", 30, 31, True),
        ("INV-000003", 0, 30, True),
    ]
    with pytest.raises(FailedPreconditionError):
        await billing.void(invoice.invoice_id)


async def test_a_late_price_in_another_currency_is_billed_once_the_old_one_is_taken_back(
    billing: Billing, events: Events, group: Group, invoice: pb.Invoice
) -> None:
    """Nobody pays the same calls in two currencies, also while nothing is there to take the first off."""
    await events.new_price(group.priced, "2", group.day, "USD")
    assert await billing.draft() == []
    assert (await billing.issue("2026-11-30")).invoices == 0
    await billing.check()
    await billing.void(invoice.invoice_id)
    await billing.issue("2026-11-30")
    again = (await billing.invoices(kind=pb.INVOICE))[-1]
    assert (again.subtotal.currency_code, to_decimal(again.subtotal)) == ("USD", Decimal(60))
    assert await billing.draft() == []


async def test_a_late_price_in_another_currency_takes_the_old_one_off_where_it_can(
    billing: Billing, events: Events, group: Group, invoice: pb.Invoice
) -> None:
    other = Group(await events.priced_service("10", merchant_id=group.priced.merchant_id), group.consumer_id)
    await events.usage(other.total(1))
    await events.new_price(group.priced, "2", group.day, "USD")
    await billing.issue("2026-11-30")
    found = [
        (each.subtotal.currency_code, to_decimal(each.subtotal))
        for each in await billing.invoices(kind=pb.INVOICE)
    ]
    assert found == [("EUR", Decimal("9.90")), ("EUR", Decimal("0.10")), ("USD", Decimal(60))]


async def test_an_invoice_is_sent_again_when_asked(
    billing: Billing, group: Group, invoice: pb.Invoice, clock: SetClock
) -> None:
    clock.now = datetime(2026, 12, 9, tzinfo=UTC)
    request = pb.SendInvoiceRequest(invoice_id=invoice.invoice_id)
    sent = await billing.ask("SendInvoice", request, group.priced.merchant_id, MERCHANT)
    assert sent.sent_at.ToDatetime(UTC) == clock.now
    first, second = await billing.notifications()
    assert first.notification_id != second.notification_id
    assert (first.user_id, first.invoice_issued) == (second.user_id, second.invoice_issued)


CORRECTIONS: list[tuple[str, Any]] = [
    ("MarkInvoicePaid", pb.MarkInvoicePaidRequest()),
    ("VoidInvoice", pb.VoidInvoiceRequest(reason="x")),
    ("CreateCreditNote", pb.CreateCreditNoteRequest(reason="x", amount=to_money(Decimal(1), "EUR"))),
    ("SendInvoice", pb.SendInvoiceRequest()),
]


@pytest.mark.parametrize(("method", "request_"), CORRECTIONS, ids=[method for method, _ in CORRECTIONS])
async def test_only_its_merchant_and_admins_correct_it_and_no_draft_is_corrected(
    billing: Billing, events: Events, group: Group, method: str, request_: Any
) -> None:
    (draft,) = await billing.draft()
    request_.invoice_id = draft.invoice_id
    with pytest.raises(FailedPreconditionError):
        await billing.ask(method, request_, group.priced.merchant_id, MERCHANT)
    await billing.issue("2026-11-30")
    with pytest.raises(PermissionDeniedError):
        await billing.ask(method, request_, group.consumer_id, CONSUMER)
    for stranger in (uuid7(), group.consumer_id):
        with pytest.raises(NotFoundError):
            await billing.ask(method, request_, stranger, MERCHANT, CONSUMER)
    await billing.ask(method, request_, group.priced.merchant_id, MERCHANT)
    assert (await billing.audits())[-1].resource_id == draft.invoice_id
    if method == "CreateCreditNote":
        (note,) = await billing.invoices(kind=pb.CREDIT_NOTE)
        request_.invoice_id = note.invoice_id
        with pytest.raises(FailedPreconditionError) as caught:
            await billing.ask(method, request_, uuid7(), ADMIN)
        assert caught.value.code == "not_an_invoice"


async def test_an_invoice_of_nothing_is_not_voided_paid_or_sent(billing: Billing, events: Events) -> None:
    await events.usage(Group(await events.priced_service("0"), uuid7()).total(1))
    await billing.issue("2026-11-30")
    (nothing,) = await billing.invoices()
    for method, request in CORRECTIONS:
        if method != "CreateCreditNote":
            request.invoice_id = nothing.invoice_id
            with pytest.raises(FailedPreconditionError) as caught:
                await billing.ask(method, request, uuid7(), ADMIN)
            assert caught.value.code == "nothing_due"


async def test_the_database_refuses_to_change_what_was_issued(billing: Billing, invoice: pb.Invoice) -> None:
    await credit(billing, invoice.invoice_id, "1")
    for sql in (
        "UPDATE invoices SET subtotal = subtotal + 1, total = total + 1",
        "UPDATE invoices SET number = 'INV-000007' WHERE kind = 'invoice'",
        "UPDATE invoices SET status = 'draft', sequence = NULL, number = '', issued_at = NULL",
        "UPDATE invoices SET due_on = due_on + 1 WHERE kind = 'invoice'",
        "UPDATE invoices SET invoice_id = gen_random_uuid()",
        "DELETE FROM invoices",
        "DELETE FROM invoice_lines",
        "UPDATE invoice_lines SET amount = 0",
        "TRUNCATE invoices CASCADE",
        "TRUNCATE invoice_lines",
        "INSERT INTO invoice_lines (invoice_id, position, kind, description, amount)"
        " SELECT invoice_id, 9, 'credit', '', 1 FROM invoices",
        "INSERT INTO invoices SELECT (i).* FROM (SELECT jsonb_populate_record(invoices,"
        " jsonb_build_object('invoice_id', gen_random_uuid(), 'sequence', 9)) AS i FROM invoices) AS made",
    ):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await billing.execute(sql)


async def test_the_database_refuses_to_issue_what_its_lines_do_not_add_up_to(
    billing: Billing, events: Events, group: Group
) -> None:
    await billing.draft()
    await billing.execute("UPDATE invoices SET subtotal = subtotal + 1, total = total + 1")
    with pytest.raises(asyncpg.CheckViolationError):
        await billing.execute(
            "UPDATE invoices SET status = 'issued', sequence = 1, number = 'INV-000001', issued_at = now()"
        )
    await billing.execute("UPDATE invoices SET subtotal = subtotal - 1, total = total - 1")
