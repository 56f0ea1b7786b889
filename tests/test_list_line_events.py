"""Each line of an invoice leads to exactly the events that it counts, for whoever may see the invoice."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.catalog.v1.pricing_pb2 import MEGABYTES, REQUESTS
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams_common.errors import AppError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from ams_rating import proof
from ams_rating.charging import ChargeRule
from ams_rating.events import read_leaf
from ams_rating.prices import Component, Meter, PerUnit, Price
from billing_svc.testing import Group
from support.billed_month import TIERED, at, issued, proof_of, use
from support.usage_pipeline import Caller, UsagePipeline


@pytest.fixture
async def caller(pipeline: UsagePipeline) -> Caller:
    return Caller(await pipeline.events.priced_service(TIERED))


async def events_of(
    pipeline: UsagePipeline,
    invoice_id: str,
    position: int,
    user_id: Any = None,
    role: Role.ValueType = ADMIN,
    page_size: int = 5,
) -> list[pb.LineEvent]:
    """All pages of them; each but the last is full."""
    found: list[pb.LineEvent] = []
    token = ""
    while True:
        request = pb.ListInvoiceLineEventsRequest(
            invoice_id=invoice_id, position=position, page_size=page_size, page_token=token
        )
        answer = await pipeline.billing.ask("ListInvoiceLineEvents", request, user_id or uuid7(), role)
        found += answer.events
        token = answer.next_page_token
        if not token:
            return found
        assert len(answer.events) == page_size


async def by_line(pipeline: UsagePipeline, invoice: pb.Invoice) -> list[list[pb.LineEvent]]:
    return [
        await events_of(pipeline, invoice.invoice_id, position)
        for position in range(1, len(invoice.lines) + 1)
    ]


def counts(line: pb.InvoiceLine, found: Sequence[pb.LineEvent]) -> bool:
    """Whether the events come to the line's quantity."""
    calls = sum(not event.is_continuation for event in found)
    sizes = sum(event.request_bytes + event.response_bytes for event in found)
    if not line.meter:  # a monthly fee, due for any
        return bool(found)
    of_meter = {REQUESTS: Decimal(calls), MEGABYTES: Decimal(sizes) / 1_000_000}
    return Decimal(line.quantity) == of_meter[line.meter]


async def proven_ids(pipeline: UsagePipeline, invoice: pb.Invoice) -> list[str]:
    """The ids of all events in its proof file, in its order."""
    rows = await proof_of(pipeline, invoice.invoice_id, uuid7(), ADMIN)
    records = [proof.read(row) for row in rows[1:]]
    return [
        str(read_leaf(record.leaf.encode()).event_id) for record in records if isinstance(record, proof.Event)
    ]


def ids(found: Sequence[pb.LineEvent]) -> list[str]:
    return [event.event_id for event in found]


async def test_a_lines_events_come_to_its_quantity_and_are_those_of_the_proof(
    pipeline: UsagePipeline, caller: Caller
) -> None:
    await use(pipeline, caller)
    invoice = await issued(pipeline, caller)
    found = await by_line(pipeline, invoice)
    assert [counts(line, events) for line, events in zip(invoice.lines, found, strict=True)] == [True] * 4
    # Three components of a price, and another price.
    tiers, megabytes, fee, later = found
    assert ids(tiers) == ids(megabytes) == ids(fee)
    assert not set(ids(tiers)) & set(ids(later))
    # What isn't charged is in none: a 4xx where the price gives it away, a 5xx, a test call, another's.
    assert sorted(ids(tiers) + ids(later)) == sorted(await proven_ids(pipeline, invoice))
    assert [event.status_code for event in tiers + later].count(404) == 1
    assert [event.is_continuation for event in tiers].count(True) == 1
    assert not any(event.is_billed_before for event in tiers + later)
    # Closing a day, and keeping its events elsewhere, changes nothing.
    await pipeline.close_days()
    assert await by_line(pipeline, invoice) == found
    await pipeline.archive_events()
    assert await by_line(pipeline, invoice) == found


async def test_each_reader_gets_the_events_and_the_key_as_they_may_see_it(
    pipeline: UsagePipeline, caller: Caller
) -> None:
    await use(pipeline, caller)
    invoice = await issued(pipeline, caller)
    merchant_id = caller.priced.merchant_id
    as_admin = await events_of(pipeline, invoice.invoice_id, 1)
    as_consumer = await events_of(pipeline, invoice.invoice_id, 1, caller.consumer_id, CONSUMER)
    as_merchant = await events_of(pipeline, invoice.invoice_id, 1, merchant_id, MERCHANT)
    assert as_consumer == as_admin
    assert ids(as_merchant) == ids(as_admin)
    names = {str(caller.api_key_id): pipeline.pseudonyms.of_key(merchant_id, caller.api_key_id)}
    mine = [event for event in as_consumer if event.api_key_id == str(caller.api_key_id)]
    assert {event.key for event in mine} == set(names.values())
    assert {event.api_key_id for event in as_merchant} == {""}
    assert str(caller.api_key_id) not in "".join(map(str, as_merchant))


async def test_an_adjustment_tells_what_is_new_from_what_was_billed_before(
    pipeline: UsagePipeline, caller: Caller
) -> None:
    await use(pipeline, caller)
    invoice = await issued(pipeline, caller)
    before = await by_line(pipeline, invoice)
    late = [caller.event(at(4)), caller.event(at(21)), caller.event(at(4), status_code=500)]
    async with pipeline.running():
        await pipeline.send(late)
        await pipeline.rated(64 + 3)
    pipeline.billing.clock.now += timedelta(seconds=1)
    adjustment = await issued(pipeline, caller)
    found = await by_line(pipeline, adjustment)
    assert all(counts(line, events) for line, events in zip(adjustment.lines, found, strict=True))
    everything = {event.event_id: event for events in found for event in events}
    assert sorted(everything) == sorted(await proven_ids(pipeline, adjustment))
    new = {each for each, event in everything.items() if not event.is_billed_before}
    assert len(new) == 2
    assert everything.keys() - new == {each for events in before for each in ids(events)}
    # What was issued stays as it is.
    assert await by_line(pipeline, invoice) == before


async def test_what_a_void_invoice_had_is_new_on_the_next(pipeline: UsagePipeline, caller: Caller) -> None:
    await use(pipeline, caller)
    wrong = await issued(pipeline, caller)
    before = await by_line(pipeline, wrong)
    # Late usage is billed before the first invoice is taken back.
    async with pipeline.running():
        await pipeline.send([caller.event(at(4))])
        await pipeline.rated(64 + 1)
    pipeline.billing.clock.now += timedelta(seconds=1)
    second = await issued(pipeline, caller)
    await pipeline.billing.void(wrong.invoice_id)
    pipeline.billing.clock.now += timedelta(seconds=1)
    right = await issued(pipeline, caller)
    found = await by_line(pipeline, right)
    assert all(counts(line, events) for line, events in zip(right.lines, found, strict=True))
    (late,) = {
        event.event_id
        for events in await by_line(pipeline, second)
        for event in events
        if not event.is_billed_before
    }
    assert {event.event_id for events in found for event in events if event.is_billed_before} == {late}
    assert await by_line(pipeline, wrong) == before


async def test_a_price_that_is_known_late_leaves_a_line_without_events(
    pipeline: UsagePipeline, caller: Caller
) -> None:
    await use(pipeline, caller)
    invoice = await issued(pipeline, caller)
    before = await by_line(pipeline, invoice)
    # The price from the 20th is replaced, and by one that gives 4xx away.
    rule = ChargeRule(is_client_error_free=True)
    dear = Price("EUR", (Component(Meter.REQUESTS, PerUnit(Decimal("0.9"))),), rule)
    await pipeline.events.new_price(caller.priced, dear, at(20).date().isoformat())
    pipeline.billing.clock.now += timedelta(seconds=1)
    adjustment = await issued(pipeline, caller)
    assert adjustment.invoice_id != invoice.invoice_id
    found = await by_line(pipeline, adjustment)
    taken_back = [
        events for line, events in zip(adjustment.lines, found, strict=True) if to_decimal(line.amount) < 0
    ]
    assert taken_back == [[]]
    (line, events), *others = [
        (line, events)
        for line, events in zip(adjustment.lines, found, strict=True)
        if to_decimal(line.amount) > 0
    ]
    assert others == []
    assert counts(line, events)
    # All were billed before, by the other price, which charged the 4xx of the 25th too.
    assert all(event.is_billed_before for event in events)
    assert set(ids(events)) < {each for of_line in before for each in ids(of_line)}
    assert 404 not in {event.status_code for event in events}
    assert await by_line(pipeline, invoice) == before


async def test_nothing_is_left_out_however_many_events_between_are_not_charged(
    pipeline: UsagePipeline, caller: Caller
) -> None:
    """One answer looks through a bounded number of events: a page may be short, and more follow."""
    first, *failing = [caller.event(at(5), status_code=status) for status in (200, *[500] * 1600)]
    last = [caller.event(at(5)) for _ in range(3)]
    async with pipeline.running():
        await pipeline.send([first, *failing, *last])
        await pipeline.rated(1604)
    invoice = await issued(pipeline, caller)
    sizes: list[int] = []
    found: list[pb.LineEvent] = []
    token = ""
    while token or not sizes:
        request = pb.ListInvoiceLineEventsRequest(
            invoice_id=invoice.invoice_id, position=1, page_size=2, page_token=token
        )
        answer = await pipeline.billing.ask("ListInvoiceLineEvents", request, uuid7(), ADMIN)
        sizes.append(len(answer.events))
        found += answer.events
        token = answer.next_page_token
    assert sizes == [1, 2, 1]
    assert len(set(ids(found))) == 4


async def test_only_who_may_see_the_invoice_gets_its_events(pipeline: UsagePipeline, caller: Caller) -> None:
    async with pipeline.running():
        await pipeline.send([caller.event(at(1))])
        await pipeline.rated(1)
    (draft,) = await pipeline.billing.draft()
    request = pb.ListInvoiceLineEventsRequest(invoice_id=draft.invoice_id, position=1)
    merchant_id = caller.priced.merchant_id
    for user_id, role, expected in (
        (merchant_id, MERCHANT, FailedPreconditionError),
        (uuid7(), ADMIN, FailedPreconditionError),
        (caller.consumer_id, CONSUMER, NotFoundError),
    ):
        with pytest.raises(expected):
            await pipeline.billing.ask("ListInvoiceLineEvents", request, user_id, role)
    invoice = await issued(pipeline, caller)
    request.invoice_id = invoice.invoice_id
    strangers = ((uuid7(), MERCHANT), (uuid7(), CONSUMER), (caller.consumer_id, MERCHANT))
    for stranger, role in strangers:
        with pytest.raises(NotFoundError):
            await pipeline.billing.ask("ListInvoiceLineEvents", request, stranger, role)
    refused: list[tuple[dict[str, Any], type[AppError]]] = [
        ({"position": 4}, NotFoundError),
        ({"position": 0}, InvalidArgumentError),
        ({"page_token": "x"}, InvalidArgumentError),
        ({"page_size": 501}, InvalidArgumentError),
        ({"invoice_id": "x"}, InvalidArgumentError),
        ({"invoice_id": str(uuid7())}, NotFoundError),
    ]
    good: dict[str, Any] = {"invoice_id": invoice.invoice_id, "position": 1}
    for fields, error in refused:
        wrong = pb.ListInvoiceLineEventsRequest(**good | fields)
        with pytest.raises(error):
            await pipeline.billing.ask("ListInvoiceLineEvents", wrong, merchant_id, MERCHANT)
    await pipeline.billing.void(invoice.invoice_id)
    (note,) = await pipeline.billing.invoices(kind=pb.CREDIT_NOTE)
    request.invoice_id = note.invoice_id
    with pytest.raises(FailedPreconditionError):
        await pipeline.billing.ask("ListInvoiceLineEvents", request, merchant_id, MERCHANT)


async def test_lines_of_other_months_and_services_are_told_apart(pipeline: UsagePipeline) -> None:
    """Two services of a merchant and two keys of a consumer, in two months."""
    first = Caller(await pipeline.events.priced_service("0.02", name="A"))
    other = await pipeline.events.priced_service("0.03", merchant_id=first.priced.merchant_id, name="B")
    second = Caller(other, first.consumer_id)
    month_before = at(1) - timedelta(days=3)
    async with pipeline.running():
        await pipeline.send([first.event(at(1)), first.event(month_before), first.event(at(2))])
        await pipeline.send([second.event(at(1)), second.event(at(1))])
        await pipeline.rated(5)
    invoice = await issued(pipeline, first)
    found = await by_line(pipeline, invoice)
    assert [line.service_name for line in invoice.lines] == ["A", "A", "B"]
    assert [len(events) for events in found] == [1, 2, 2]
    assert len({each for events in found for each in ids(events)}) == 5


async def test_usage_that_no_event_is_of_has_none(pipeline: UsagePipeline, caller: Caller) -> None:
    """A total that came from nowhere is on the invoice; ams-verify names it, and the list invents nothing."""
    await pipeline.events.usage(Group(caller.priced, caller.consumer_id, at(3).date().isoformat()).total(2))
    invoice = await issued(pipeline, caller)
    assert await events_of(pipeline, invoice.invoice_id, 1) == []
