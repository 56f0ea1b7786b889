"""Who sees which invoice, and what of it."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams_common.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from ams_common.pseudonyms import Pseudonyms
from billing_svc.testing import Billing, Events, Group, PricedService, contains, merchant_changed


async def billed(billing: Billing, events: Events) -> tuple[PricedService, UUID, pb.Invoice]:
    """An issued invoice: the priced service, the consumer's id, the invoice as an admin sees it."""
    priced, consumer_id = await events.priced_service("1"), uuid7()
    await events.usage(Group(priced, consumer_id, "2026-10-10").total(3))
    await billing.issue("2026-10-31")
    (listed,) = await billing.invoices(merchant_id=str(priced.merchant_id))
    return priced, consumer_id, await billing.get(listed.invoice_id)


async def test_an_admin_sees_the_consumer_and_their_pseudonym(
    billing: Billing, events: Events, pseudonyms: Pseudonyms
) -> None:
    priced, consumer_id, invoice = await billed(billing, events)
    assert invoice.consumer_id == str(consumer_id)
    assert invoice.consumer_pseudonym == pseudonyms.of_consumer(priced.merchant_id, consumer_id)


async def test_nothing_that_a_merchant_gets_holds_the_consumers_id(billing: Billing, events: Events) -> None:
    priced, consumer_id, invoice = await billed(billing, events)
    merchant_id, invoice_id = priced.merchant_id, invoice.invoice_id
    answers = [
        await billing.ask("ListMerchantInvoices", pb.ListInvoicesRequest(), merchant_id, MERCHANT),
        await billing.ask("GetInvoice", pb.GetInvoiceRequest(invoice_id=invoice_id), merchant_id, MERCHANT),
        await billing.ask("SendInvoice", pb.SendInvoiceRequest(invoice_id=invoice_id), merchant_id, MERCHANT),
        await billing.ask("GetStatement", pb.GetStatementRequest(period="2026-11"), merchant_id, MERCHANT),
        await billing.ask(
            "VoidInvoice", pb.VoidInvoiceRequest(invoice_id=invoice_id, reason="x"), merchant_id, MERCHANT
        ),
    ]
    for answer in answers:
        assert not contains(answer, consumer_id)
        assert invoice.consumer_pseudonym.encode() in answer.SerializeToString()


async def test_a_consumer_sees_issued_ones_only_and_never_the_commission(
    billing: Billing, events: Events
) -> None:
    _, consumer_id, invoice = await billed(billing, events)
    for hidden in ("consumer_pseudonym", "commission", "commission_rate", "total"):
        invoice.ClearField(hidden)
    request = pb.GetInvoiceRequest(invoice_id=invoice.invoice_id)
    assert await billing.ask("GetInvoice", request, consumer_id, CONSUMER) == invoice
    await events.usage(Group(await events.priced_service("1"), consumer_id).total(1))
    (draft,) = await billing.draft()
    answer = await billing.ask("ListConsumerInvoices", pb.ListInvoicesRequest(), consumer_id, CONSUMER)
    assert [shown.invoice_id for shown in answer.invoices] == [invoice.invoice_id]
    assert not answer.invoices[0].HasField("commission")
    with pytest.raises(NotFoundError):
        request = pb.GetInvoiceRequest(invoice_id=draft.invoice_id)
        await billing.ask("GetInvoice", request, consumer_id, CONSUMER)


async def test_somebody_elses_invoice_is_not_found_like_a_missing_one(
    billing: Billing, events: Events
) -> None:
    priced, consumer_id, invoice = await billed(billing, events)
    there, missing = invoice.invoice_id, str(uuid7())
    refused = []
    for invoice_id, caller, role in [
        (there, uuid7(), MERCHANT),
        (there, uuid7(), CONSUMER),
        (there, priced.merchant_id, CONSUMER),  # theirs, but not in the role that they hold
        (there, consumer_id, MERCHANT),
        (missing, priced.merchant_id, MERCHANT),
        (missing, uuid7(), ADMIN),
    ]:
        with pytest.raises(NotFoundError) as caught:
            await billing.ask("GetInvoice", pb.GetInvoiceRequest(invoice_id=invoice_id), caller, role)
        refused.append((caught.value.code, caught.value.message, caught.value.metadata))
    assert refused == [("invoice_not_found", "There is no such invoice.", {})] * 6


async def test_others_lists_are_empty(billing: Billing, events: Events) -> None:
    await billed(billing, events)
    for method, role in [("ListMerchantInvoices", MERCHANT), ("ListConsumerInvoices", CONSUMER)]:
        assert list((await billing.ask(method, pb.ListInvoicesRequest(), uuid7(), role)).invoices) == []


async def test_an_account_with_both_roles_sees_each_side_as_its_own(billing: Billing, events: Events) -> None:
    both = uuid7()
    sold = await events.priced_service("1", merchant_id=both)
    bought = await events.priced_service("2")
    await events.usage(
        Group(sold, uuid7(), "2026-10-10").total(1), Group(bought, both, "2026-10-10").total(1)
    )
    await billing.issue()
    invoices = {invoice.merchant_id: invoice for invoice in await billing.invoices()}

    async def get(merchant_id: UUID) -> pb.Invoice:
        request = pb.GetInvoiceRequest(invoice_id=invoices[str(merchant_id)].invoice_id)
        answer: pb.Invoice = await billing.ask("GetInvoice", request, both, MERCHANT, CONSUMER)
        return answer

    as_merchant, as_consumer = await get(both), await get(bought.merchant_id)
    assert (as_merchant.consumer_id, bool(as_merchant.consumer_pseudonym)) == ("", True)
    assert (as_consumer.consumer_id, as_consumer.consumer_pseudonym) == (str(both), "")


async def test_lists_are_narrowed(billing: Billing, events: Events, pseudonyms: Pseudonyms) -> None:
    one, two = await events.priced_service("1"), await events.priced_service("1")
    ann, bob = uuid7(), uuid7()
    await events.usage(Group(one, ann, "2026-10-10").total(1))
    await billing.issue()
    await events.usage(
        Group(one, ann).total(1), Group(one, bob).total(1), Group(two, ann, "2026-11-02").total(1)
    )
    await billing.draft()

    async def count(method: str = "ListInvoices", caller: UUID | None = None, **filters: Any) -> int:
        role = {"ListInvoices": ADMIN, "ListMerchantInvoices": MERCHANT}.get(method, CONSUMER)
        answer = await billing.ask(method, pb.ListInvoicesRequest(**filters), caller or uuid7(), role)
        return len(answer.invoices)

    assert await count() == 4
    assert await count(period="2026-10") == 1
    assert await count(merchant_id=str(one.merchant_id)) == 3
    assert await count(consumer=str(ann), period="2026-11") == 2
    assert await count(consumer=str(bob), merchant_id=str(two.merchant_id)) == 0
    assert await count(status=pb.INVOICE_DRAFT) == 3
    assert await count(status=pb.INVOICE_PAID) == 0
    assert await count(kind=pb.CREDIT_NOTE) == 0
    merchant = one.merchant_id
    name, unknown = (pseudonyms.of_consumer(merchant, each) for each in (bob, uuid7()))
    assert await count("ListMerchantInvoices", merchant, consumer=name) == 1
    assert await count("ListMerchantInvoices", merchant, consumer=unknown) == 0
    assert await count("ListMerchantInvoices", merchant, consumer=str(bob)) == 0
    assert await count("ListConsumerInvoices", ann) == 1
    assert await count("ListConsumerInvoices", ann, merchant_id=str(two.merchant_id)) == 0
    with pytest.raises(InvalidArgumentError):
        await count(consumer=name)


async def test_a_statement_agrees_with_the_invoices_and_credit_notes_of_its_month(
    billing: Billing, events: Events
) -> None:
    priced, _, invoice = await billed(billing, events)
    await events.identity(merchant_changed(priced.merchant_id, "Weather Ltd"))
    await events.usage(Group(priced, uuid7(), "2026-10-20").total(7))
    await billing.issue()
    await billing.void(invoice.invoice_id)
    request = pb.GetStatementRequest(period="2026-11")
    statement = await billing.ask("GetStatement", request, priced.merchant_id, MERCHANT)
    assert (statement.merchant_name, statement.period) == ("Weather Ltd", "2026-11")
    shown = [(each.number, each.status, each.subtotal.units) for each in statement.invoices]
    assert shown == [
        ("INV-000001", pb.INVOICE_VOID, 3),
        ("INV-000002", pb.INVOICE_ISSUED, 7),
        ("CN-000001", pb.INVOICE_ISSUED, 3),
    ]
    (total,) = statement.totals
    assert [str(to_decimal(money).normalize()) for money in (total.gross, total.commission, total.net)] == [
        "7",
        "0.7",
        "6.3",
    ]
    billing.clock.now = datetime(2026, 12, 1, tzinfo=UTC)
    later = pb.GetStatementRequest(period="2026-12")
    assert list((await billing.ask("GetStatement", later, priced.merchant_id, MERCHANT)).totals) == []
    request.merchant_id = str(priced.merchant_id)
    assert len((await billing.ask("GetStatement", request, uuid7(), ADMIN)).invoices) == 3
    with pytest.raises(PermissionDeniedError):
        await billing.ask("GetStatement", request, uuid7(), MERCHANT)
    with pytest.raises(InvalidArgumentError):
        await billing.ask("GetStatement", pb.GetStatementRequest(period="2026-11"), uuid7(), ADMIN)
