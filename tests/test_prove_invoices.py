"""From events in Kafka to an invoice that whoever pays it can recompute, and what is said when anything was
changed."""

import base64
import io
import json
import sys
from asyncio import create_subprocess_exec, subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams.usage.v1.events_pb2 import ANSWERED, UsageEventBatch
from ams_common.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from ams_rating.price_json import price_from_json
from ams_rating.verify import Verification
from billing_svc.testing import Group, price_changed
from pypdf import PdfReader
from support.billed_month import TIERED, at, issued, proof_of, use
from support.usage_pipeline import Caller, UsagePipeline


@pytest.fixture
async def caller(pipeline: UsagePipeline) -> Caller:
    return Caller(await pipeline.events.priced_service(TIERED))


def differences(rows: list[bytes]) -> list[str]:
    return [str(difference) for difference in Verification(rows).differences()]


async def test_the_command_accepts_a_real_invoice(
    pipeline: UsagePipeline, caller: Caller, tmp_path: Path
) -> None:
    await use(pipeline, caller)
    invoice = await issued(pipeline, caller)
    assert await pipeline.close_days() == 28
    rows = await proof_of(pipeline, invoice.invoice_id, caller.consumer_id, CONSUMER)
    merchant_id = caller.priced.merchant_id
    assert await proof_of(pipeline, invoice.invoice_id, merchant_id, MERCHANT) == rows
    assert await proof_of(pipeline, invoice.invoice_id, uuid7(), ADMIN) == rows
    # The merchant reads it too: it says by nothing who the consumer is.
    content = b"".join(rows)
    assert str(caller.consumer_id).encode() not in content
    assert str(caller.api_key_id).encode() not in content

    records = [json.loads(row) for row in rows]
    roots = [each for each in records if each.get("record") == "day_root"]
    # Twenty-eight calls, four of another key, one given up, a part of one that lasts, and the second 4xx.
    assert sum(each.get("record") == "event" for each in records) == 35
    file, published = tmp_path / "proof.jsonl", tmp_path / "roots.json"
    file.write_bytes(content)
    published.write_text(
        json.dumps({"roots": [{**each, "merchantId": each["merchant_id"]} for each in roots]})
    )
    await pipeline.add_digests()
    digest = (await whole(pipeline, invoice)).roots_digest
    process = await create_subprocess_exec(
        sys.executable,
        *("-m", "ams_rating.verify", file, "--roots", published, "--digest", digest),
        stdout=subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert (process.returncode, output.decode().splitlines()[-1]) == (0, "Everything agrees.")


async def whole(pipeline: UsagePipeline, invoice: pb.Invoice) -> pb.Invoice:
    return await pipeline.billing.get(invoice.invoice_id)


async def test_an_invoice_carries_a_digest_of_its_roots_once_all_its_events_are_in_them(
    pipeline: UsagePipeline, caller: Caller
) -> None:
    await use(pipeline, caller)
    invoice = await issued(pipeline, caller)
    assert await pipeline.add_digests() == 0
    assert (await whole(pipeline, invoice)).roots_digest == ""
    await pipeline.close_days()
    # The other consumer's invoice too.
    assert await pipeline.add_digests() == 2
    assert await pipeline.add_digests() == 0
    merchant_id = caller.priced.merchant_id
    for user_id, role in ((merchant_id, MERCHANT), (caller.consumer_id, CONSUMER), (uuid7(), ADMIN)):
        request = pb.GetInvoiceRequest(invoice_id=invoice.invoice_id)
        shown = await pipeline.billing.ask("GetInvoice", request, user_id, role)
        assert len(shown.roots_digest) == 64
        for kind in (pb.DOCUMENT_PDF, pb.DOCUMENT_HTML, pb.DOCUMENT_CSV):
            file = await pipeline.billing.ask(
                "GetInvoiceDocument",
                pb.GetInvoiceDocumentRequest(invoice_id=invoice.invoice_id, format=kind),
                user_id,
                role,
            )
            assert shown.roots_digest in text_of(file)
    digest = bytes.fromhex(shown.roots_digest)
    rows = await proof_of(pipeline, invoice.invoice_id, caller.consumer_id, CONSUMER)
    assert list(Verification(rows, digest=digest).differences()) == []
    # Late usage makes further editions of two days, which are the next invoice's and not this one's.
    async with pipeline.running():
        await pipeline.send([caller.event(at(4)), caller.event(at(21))])
        await pipeline.rated(64 + 2)
    pipeline.billing.clock.now += timedelta(seconds=1)
    adjustment = await issued(pipeline, caller)
    assert await pipeline.add_digests() == 0
    assert await pipeline.close_days() == 2
    assert await pipeline.add_digests() == 1
    assert (await whole(pipeline, invoice)).roots_digest == digest.hex()
    assert await proof_of(pipeline, invoice.invoice_id, caller.consumer_id, CONSUMER) == rows
    another = bytes.fromhex((await whole(pipeline, adjustment)).roots_digest)
    assert another != digest
    rows = await proof_of(pipeline, adjustment.invoice_id, caller.consumer_id, CONSUMER)
    assert list(Verification(rows, digest=another).differences()) == []
    (difference,) = Verification(rows, digest=digest).differences()
    assert difference.where == "roots"
    await pipeline.billing.check()


def text_of(file: pb.InvoiceDocument) -> str:
    """What can be read in it. A PDF breaks long words."""
    if file.media_type != "application/pdf":
        return file.content.decode()
    pages = PdfReader(io.BytesIO(file.content)).pages
    return "".join("".join(page.extract_text() for page in pages).split())


async def test_a_root_that_was_changed_since_is_named_by_the_digest(
    pipeline: UsagePipeline, caller: Caller
) -> None:
    """By whoever has changed an event, its tree and the published root, so that all of it agrees."""
    await use(pipeline, caller)
    invoice = await issued(pipeline, caller)
    await pipeline.close_days()
    await pipeline.add_digests()
    digest = bytes.fromhex((await whole(pipeline, invoice)).roots_digest)
    for table in ("day_roots", "tree_leaves", "tree_blocks"):
        await pipeline.change_usage(f"ALTER TABLE {table} DISABLE TRIGGER USER; DELETE FROM {table}")
    await pipeline.change_usage("UPDATE usage_events SET status_code = 201 WHERE status_code = 200")
    await pipeline.close_days()
    rows = await proof_of(pipeline, invoice.invoice_id, caller.consumer_id, CONSUMER)
    assert differences(rows) == []
    (difference,) = Verification(rows, digest=digest).differences()
    assert str(difference).startswith("roots: their digest is ")
    assert str(difference).endswith(f"but the invoice says {digest.hex()}")
    # The invoice still says what it has said.
    assert (await whole(pipeline, invoice)).roots_digest == digest.hex()
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await pipeline.billing.execute("UPDATE invoice_roots SET digest = sha256('another')")


async def test_late_usage_has_a_proof_of_its_own_and_changes_no_other(
    pipeline: UsagePipeline, caller: Caller
) -> None:
    await use(pipeline, caller)
    invoice = await issued(pipeline, caller)
    await pipeline.close_days()
    before = await proof_of(pipeline, invoice.invoice_id, caller.consumer_id, CONSUMER)
    async with pipeline.running():
        await pipeline.send([caller.event(at(4)), caller.event(at(21)), caller.event(at(4), status_code=500)])
        await pipeline.rated(64 + 3)
    pipeline.billing.clock.now += timedelta(seconds=1)
    adjustment = await issued(pipeline, caller)
    assert adjustment.invoice_id != invoice.invoice_id
    rows = await proof_of(pipeline, adjustment.invoice_id, caller.consumer_id, CONSUMER)
    (first, *_) = differences(rows)
    assert "its day isn't closed" in first
    assert await pipeline.close_days() == 2
    rows = await proof_of(pipeline, adjustment.invoice_id, caller.consumer_id, CONSUMER)
    assert differences(rows) == []
    assert sum(b'"record":"event"' in row for row in rows) == 37

    def without_roots(rows: list[bytes]) -> list[bytes]:
        return [row for row in rows if b'"record":"day_root"' not in row]

    after = await proof_of(pipeline, invoice.invoice_id, caller.consumer_id, CONSUMER)
    assert differences(after) == []
    assert without_roots(after) == without_roots(before)
    await pipeline.archive_events()
    assert await proof_of(pipeline, adjustment.invoice_id, caller.consumer_id, CONSUMER) == rows


async def test_a_replayed_dead_letter_is_proven_on_the_adjustment_that_bills_it(
    pipeline: UsagePipeline, caller: Caller
) -> None:
    # One that nobody understands is in the same record as one that counts, and others come behind it.
    late, after = caller.event(at(4), outcome=99), caller.event(at(4))
    async with pipeline.running():
        await pipeline.send([caller.event(at(4)), late])
        await pipeline.send([after])
        await pipeline.rated(2)
        letter = await pipeline.dead_letter()
    invoice = await issued(pipeline, caller)
    await pipeline.close_days()
    assert differences(await proof_of(pipeline, invoice.invoice_id, caller.consumer_id, CONSUMER)) == []
    # As a newer release would understand it.
    late.outcome = ANSWERED
    await pipeline.replay(letter, UsageEventBatch(events=[late]))
    async with pipeline.running():
        await pipeline.rated(3)
    pipeline.billing.clock.now += timedelta(seconds=1)
    adjustment = await issued(pipeline, caller)
    assert adjustment.invoice_id != invoice.invoice_id
    await pipeline.close_days()
    for each, events in ((invoice, 2), (adjustment, 3)):
        rows = await proof_of(pipeline, each.invoice_id, caller.consumer_id, CONSUMER)
        assert differences(rows) == []
        assert sum(b'"record":"event"' in row for row in rows) == events


@pytest.mark.parametrize("late", ["another price", "a canceled price", "another currency"])
async def test_a_price_that_becomes_known_late_changes_no_proof_and_is_proven_by_the_next(
    late: str, pipeline: UsagePipeline, caller: Caller
) -> None:
    """`use` makes a price of the 20th known in time. What comes late had begun on the 10th or the 20th."""
    await use(pipeline, caller)
    invoice = await issued(pipeline, caller)
    await pipeline.close_days()
    before = await proof_of(pipeline, invoice.invoice_id, caller.consumer_id, CONSUMER)
    assert differences(before) == []
    if late == "a canceled price":
        await cancel_price(pipeline, caller, at(20).replace(hour=0))
        await pipeline.events.new_price(caller.priced, "0.9", at(20).date().isoformat())
    else:
        currency = "USD" if late == "another currency" else "EUR"
        await pipeline.events.new_price(caller.priced, "0.9", at(10).date().isoformat(), currency)
        await pipeline.events.new_price(caller.priced, "0.8", at(20).date().isoformat(), currency)
        # What is taken back in the old currency needs something that it is taken off.
        dear = await pipeline.events.priced_service("1000", merchant_id=caller.priced.merchant_id)
        await pipeline.events.usage(Group(dear, caller.consumer_id, at(28).date().isoformat()).total(1))
    pipeline.billing.clock.now += timedelta(seconds=1)
    await issued(pipeline, caller)
    assert await proof_of(pipeline, invoice.invoice_id, caller.consumer_id, CONSUMER) == before
    adjusting = [
        each
        for each in await pipeline.billing.invoices(kind=pb.INVOICE)
        if each.consumer_id == str(caller.consumer_id) and each.invoice_id != invoice.invoice_id
    ]
    lines = [line for each in adjusting for line in each.lines]
    anew = [line for line in lines if line.service_id == str(caller.priced.service_id)]
    assert {line.kind for line in anew} == {pb.ADJUSTMENT}
    assert any(line.quantity == "0" and to_decimal(line.amount) < 0 for line in anew)
    assert {line.subtotal.currency_code for line in adjusting} == (
        {"EUR", "USD"} if late == "another currency" else {"EUR"}
    )
    for each in adjusting:
        rows = await proof_of(pipeline, each.invoice_id, caller.consumer_id, CONSUMER)
        # The dear service's call came from no gateway.
        assert [found for found in differences(rows) if "events come to 0 calls" not in found] == []
    await pipeline.billing.check()


async def cancel_price(pipeline: UsagePipeline, caller: Caller, starts_at: datetime) -> None:
    """The news that the price of a day had been canceled before it began."""
    ((version_id, price),) = await pipeline.billing.rows(
        "SELECT price_version_id, price::text FROM price_versions WHERE starts_at = $1", starts_at
    )
    known = price_from_json(json.loads(price))
    canceled_at = starts_at - timedelta(days=1)
    await pipeline.events.catalog(
        price_changed(version_id, caller.priced.service_id, known, starts_at, canceled_at)
    )


async def test_an_invoice_after_one_that_was_void_is_proven_too(
    pipeline: UsagePipeline, caller: Caller
) -> None:
    await use(pipeline, caller)
    wrong = await issued(pipeline, caller)
    await pipeline.close_days()
    await pipeline.billing.void(wrong.invoice_id)
    pipeline.billing.clock.now += timedelta(seconds=1)
    right = await issued(pipeline, caller)
    for invoice in (wrong, right):
        assert differences(await proof_of(pipeline, invoice.invoice_id, caller.consumer_id, CONSUMER)) == []


async def test_what_was_changed_is_named(pipeline: UsagePipeline, caller: Caller) -> None:
    await use(pipeline, caller)
    invoice = await issued(pipeline, caller)
    await pipeline.close_days()

    async def found() -> list[str]:
        return differences(await proof_of(pipeline, invoice.invoice_id, caller.consumer_id, CONSUMER))

    assert await found() == []
    # An event.
    bytes_of = "UPDATE usage_events SET response_bytes = {} WHERE response_bytes = {}"
    await pipeline.change_usage(bytes_of.format(9001, 9000))
    changed, total = await found()
    assert changed.startswith("event ") and f"of {at(9).date()}" in changed and "isn't at place" in changed
    assert total.startswith(f"usage of {at(9).date()}")
    await pipeline.change_usage(bytes_of.format(9000, 9001))
    # A price.
    price = "UPDATE price_versions SET price = replace(price::text, '{}', '{}')::jsonb"
    await pipeline.billing.execute(price.format('"0.05"', '"0.06"'))
    assert all(each.startswith("line 1: its quantity is rated") for each in await found())
    assert await found()
    await pipeline.billing.execute(price.format('"0.06"', '"0.05"'))
    # A line.
    await pipeline.billing.execute("ALTER TABLE invoice_lines DISABLE TRIGGER USER")
    line = (
        "UPDATE invoice_lines SET rated_amount = rated_amount + {}, amount = amount + {} WHERE position = 2"
    )
    await pipeline.billing.execute(line.format(1, 1))
    (rated, subtotal) = await found()
    assert rated.startswith("line 2: its quantity is rated")
    assert subtotal.startswith("invoice: its subtotal is")
    await pipeline.billing.execute(line.format(-1, -1))
    assert await found() == []
    # A day's root, by whoever also has all its events.
    await pipeline.change_usage("ALTER TABLE day_roots DISABLE TRIGGER USER")
    await pipeline.change_usage(f"UPDATE day_roots SET root = sha256('another') WHERE day = '{at(3).date()}'")
    assert all(f"of {at(3).date()}" in each for each in await found())
    assert len(await found()) >= 2


async def test_only_whose_it_is_gets_a_proof_and_only_of_an_issued_invoice(
    pipeline: UsagePipeline, caller: Caller
) -> None:
    async with pipeline.running():
        await pipeline.send([caller.event(at(1))])
        await pipeline.rated(1)
    (draft,) = await pipeline.billing.draft()
    request = pb.GetInvoiceProofRequest(invoice_id=draft.invoice_id)
    merchant_id = caller.priced.merchant_id
    with pytest.raises(FailedPreconditionError):
        await pipeline.billing.ask("GetInvoiceProof", request, merchant_id, MERCHANT)
    with pytest.raises(NotFoundError):
        await pipeline.billing.ask("GetInvoiceProof", request, caller.consumer_id, CONSUMER)
    invoice = await issued(pipeline, caller)
    request.invoice_id = invoice.invoice_id
    for stranger, role in ((uuid7(), MERCHANT), (uuid7(), CONSUMER), (caller.consumer_id, MERCHANT)):
        with pytest.raises(NotFoundError):
            await pipeline.billing.ask("GetInvoiceProof", request, stranger, role)
    for token in ("x", base64.urlsafe_b64encode(b"events/9/").decode().rstrip("="), "ZXZlbnRzLzA"):
        request.page_token = token
        with pytest.raises(InvalidArgumentError):
            await pipeline.billing.ask("GetInvoiceProof", request, merchant_id, MERCHANT)
    await pipeline.billing.void(invoice.invoice_id)
    answer: Any = await pipeline.billing.ask(
        "ListConsumerInvoices", pb.ListInvoicesRequest(kind=pb.CREDIT_NOTE), caller.consumer_id, CONSUMER
    )
    request = pb.GetInvoiceProofRequest(invoice_id=answer.invoices[0].invoice_id)
    with pytest.raises(FailedPreconditionError):
        await pipeline.billing.ask("GetInvoiceProof", request, merchant_id, MERCHANT)
