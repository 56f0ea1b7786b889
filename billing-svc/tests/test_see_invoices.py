"""Who sees which invoice, and what of it."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams_common.errors import InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from ams_common.pseudonyms import Pseudonyms
from billing_svc.testing import Billing, Events, PricedService, usage_delta


async def billed(billing: Billing, events: Events) -> tuple[PricedService, str, pb.Invoice]:
    """One invoice: the priced service, the consumer's id, the invoice as an admin sees it."""
    priced, consumer_id = await events.priced_service("1"), uuid7()
    await events.usage(usage_delta(priced, consumer_id, 3))
    (invoice,) = await billing.generate(merchant_id=str(priced.merchant_id))
    return priced, str(consumer_id), invoice


async def test_an_admin_sees_the_consumer_and_their_pseudonym(
    billing: Billing, events: Events, pseudonyms: Pseudonyms
) -> None:
    priced, consumer_id, invoice = await billed(billing, events)
    request = pb.GetInvoiceRequest(invoice_id=invoice.invoice_id)
    assert await billing.ask("GetInvoice", request, uuid7(), ADMIN) == invoice
    assert invoice.consumer_id == consumer_id
    assert invoice.consumer_pseudonym == pseudonyms.of_consumer(priced.merchant_id, UUID(consumer_id))


async def test_nothing_that_a_merchant_gets_holds_the_consumers_id(billing: Billing, events: Events) -> None:
    priced, consumer_id, invoice = await billed(billing, events)
    merchant_id = priced.merchant_id
    answers = [
        await billing.ask(
            "GenerateInvoices", pb.GenerateInvoicesRequest(period="2026-11"), merchant_id, MERCHANT
        ),
        await billing.ask("ListMerchantInvoices", pb.ListMerchantInvoicesRequest(), merchant_id, MERCHANT),
        await billing.ask(
            "GetInvoice", pb.GetInvoiceRequest(invoice_id=invoice.invoice_id), merchant_id, MERCHANT
        ),
    ]
    for answer in answers:
        serialised = answer.SerializeToString()
        assert consumer_id.encode() not in serialised
        assert bytes.fromhex(consumer_id.replace("-", "")) not in serialised
        assert invoice.consumer_pseudonym.encode() in serialised
        assert str(merchant_id).encode() in serialised


async def test_a_consumer_sees_their_own_without_the_pseudonym(billing: Billing, events: Events) -> None:
    _, consumer_id, invoice = await billed(billing, events)
    invoice.ClearField("consumer_pseudonym")
    caller = UUID(consumer_id)
    request = pb.GetInvoiceRequest(invoice_id=invoice.invoice_id)
    assert await billing.ask("GetInvoice", request, caller, CONSUMER) == invoice
    answer = await billing.ask("ListConsumerInvoices", pb.ListConsumerInvoicesRequest(), caller, CONSUMER)
    assert list(answer.invoices) == [invoice]


async def test_somebody_elses_invoice_is_not_found_like_a_missing_one(
    billing: Billing, events: Events
) -> None:
    priced, consumer_id, invoice = await billed(billing, events)
    consumer = UUID(consumer_id)
    there, missing = invoice.invoice_id, str(uuid7())
    refused = []
    for invoice_id, caller, role in [
        (there, uuid7(), MERCHANT),
        (there, uuid7(), CONSUMER),
        (there, priced.merchant_id, CONSUMER),  # theirs, but not in the role that they hold
        (there, consumer, MERCHANT),
        (missing, priced.merchant_id, MERCHANT),
        (missing, uuid7(), ADMIN),
    ]:
        with pytest.raises(NotFoundError) as caught:
            await billing.ask("GetInvoice", pb.GetInvoiceRequest(invoice_id=invoice_id), caller, role)
        refused.append((caught.value.code, caught.value.message, caught.value.metadata))
    assert refused == [("invoice_not_found", "There is no such invoice.", {})] * 6


async def test_others_lists_are_empty(billing: Billing, events: Events) -> None:
    await billed(billing, events)
    for method, request, role in [
        ("ListMerchantInvoices", pb.ListMerchantInvoicesRequest(), MERCHANT),
        ("ListConsumerInvoices", pb.ListConsumerInvoicesRequest(), CONSUMER),
    ]:
        assert list((await billing.ask(method, request, uuid7(), role)).invoices) == []


async def test_an_account_with_both_roles_sees_each_side_as_its_own(billing: Billing, events: Events) -> None:
    both = uuid7()
    sold = await events.priced_service("1", merchant_id=both)
    bought = await events.priced_service("2")
    await events.usage(usage_delta(sold, uuid7(), 1), usage_delta(bought, both, 1))
    invoices = {i.merchant_id: i for i in await billing.generate()}

    async def get(merchant_id: str) -> pb.Invoice:
        request = pb.GetInvoiceRequest(invoice_id=invoices[merchant_id].invoice_id)
        answer: pb.Invoice = await billing.ask("GetInvoice", request, both, MERCHANT, CONSUMER)
        return answer

    as_merchant, as_consumer = await get(str(both)), await get(str(bought.merchant_id))
    assert (as_merchant.consumer_id, bool(as_merchant.consumer_pseudonym)) == ("", True)
    assert (as_consumer.consumer_id, as_consumer.consumer_pseudonym) == (str(both), "")


async def test_a_merchant_makes_only_their_own_whatever_they_ask_for(
    billing: Billing, events: Events
) -> None:
    mine, theirs = await events.priced_service("1"), await events.priced_service("1")
    await events.usage(usage_delta(mine, uuid7(), 1), usage_delta(theirs, uuid7(), 1))
    request = pb.GenerateInvoicesRequest(period="2026-11", merchant_id=str(theirs.merchant_id))
    answer = await billing.ask("GenerateInvoices", request, mine.merchant_id, MERCHANT)
    assert [invoice.merchant_id for invoice in answer.invoices] == [str(mine.merchant_id)]
    rows = await billing.rows("SELECT merchant_id FROM invoices")
    assert [row["merchant_id"] for row in rows] == [mine.merchant_id]


async def test_consumers_are_chosen_by_pseudonym_or_id(
    billing: Billing, events: Events, pseudonyms: Pseudonyms
) -> None:
    priced, one, two = await events.priced_service("1"), uuid7(), uuid7()
    await events.usage(usage_delta(priced, one, 1), usage_delta(priced, two, 2))
    name = pseudonyms.of_consumer(priced.merchant_id, one)
    unknown = pseudonyms.of_consumer(priced.merchant_id, uuid7())
    assert await billing.generate_own(priced.merchant_id, consumers=[unknown]) == []
    assert await billing.generate(consumers=[str(uuid7())]) == []
    assert await billing.rows("SELECT FROM invoices") == []
    (own,) = await billing.generate_own(priced.merchant_id, consumers=[unknown, name])
    assert (own.consumer_pseudonym, to_decimal(own.subtotal)) == (name, Decimal(1))
    assert len(await billing.rows("SELECT FROM invoices")) == 1
    (admins,) = await billing.generate(consumers=[str(two)])
    assert (admins.consumer_id, to_decimal(admins.subtotal)) == (str(two), Decimal(2))


async def test_malformed_choices_of_consumers_are_named(billing: Billing) -> None:
    good = str(uuid7())
    with pytest.raises(InvalidArgumentError) as caught:
        await billing.generate(consumers=[good, "cst_aaaaaaaaaaaaaaaa"])
    assert [violation.field for violation in caught.value.violations] == ["consumers[1]"]
    with pytest.raises(InvalidArgumentError) as caught:
        await billing.generate_own(uuid7(), consumers=[good])
    assert [violation.field for violation in caught.value.violations] == ["consumers[0]"]


async def test_a_list_is_paged_newest_first_without_gaps(billing: Billing, events: Events) -> None:
    priced = await events.priced_service("1")
    for _ in range(5):
        await events.usage(usage_delta(priced, uuid7(), 1), usage_delta(priced, uuid7(), 1, "2026-10"))
    await billing.generate("2026-10")
    await billing.generate()
    seen, token = [], ""
    while True:
        request = pb.ListMerchantInvoicesRequest(page_size=3, page_token=token)
        page = await billing.ask("ListMerchantInvoices", request, priced.merchant_id, MERCHANT)
        assert len(page.invoices) <= 3
        seen += [(invoice.period, invoice.invoice_id) for invoice in page.invoices]
        if not (token := page.next_page_token):
            break
    assert len(set(seen)) == len(seen) == 10
    assert [period for period, _ in seen] == ["2026-11"] * 5 + ["2026-10"] * 5


async def test_lists_are_narrowed_by_period_merchant_and_consumer(billing: Billing, events: Events) -> None:
    one, two = await events.priced_service("1"), await events.priced_service("1")
    ann, bob = uuid7(), uuid7()
    await events.usage(
        usage_delta(one, ann, 1),
        usage_delta(one, bob, 1),
        usage_delta(two, ann, 1),
        usage_delta(one, ann, 1, "2026-10"),
    )
    await billing.generate()
    await billing.generate("2026-10")

    async def count(**filters: Any) -> int:
        answer = await billing.ask("ListInvoices", pb.ListInvoicesRequest(**filters), uuid7(), ADMIN)
        return len(answer.invoices)

    assert await count() == 4
    assert await count(period="2026-10") == 1
    assert await count(merchant_id=str(one.merchant_id)) == 3
    assert await count(consumer_id=str(ann), period="2026-11") == 2
    assert await count(consumer_id=str(bob), merchant_id=str(two.merchant_id)) == 0
    request = pb.ListConsumerInvoicesRequest(period="2026-10")
    answer = await billing.ask("ListConsumerInvoices", request, ann, CONSUMER)
    assert [invoice.period for invoice in answer.invoices] == ["2026-10"]
