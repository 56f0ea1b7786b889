"""An invoice as a file: what it says, to whom, and that strangers' texts are only texts."""

import csv
import io
from decimal import Decimal
from html.parser import HTMLParser
from uuid import UUID

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams_common.errors import InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from ams_common.pseudonyms import Pseudonyms
from ams_rating.charging import ChargeRule
from ams_rating.prices import Component, Graduated, Meter, MonthlyFee, Price, Tier
from billing_svc.documents.csv_file import text
from billing_svc.testing import Billing, Events, Group, SetClock, merchant_changed
from google.type.money_pb2 import Money
from pypdf import PdfReader

TIERED = Price(
    "EUR",
    (
        Component(
            Meter.REQUESTS, Graduated((Tier(1000, Decimal("0.01")), Tier(None, Decimal("0.005"), Decimal(1))))
        ),
        Component(None, MonthlyFee(Decimal(3))),
    ),
    ChargeRule(is_client_error_free=True),
)
HOSTILE = "<script>alert('x')</script> & \"Zażółć\" **GmbH**"
FORMULA = "=HYPERLINK(1)"


async def billed(billing: Billing, events: Events, price: Price = TIERED) -> tuple[Group, pb.Invoice]:
    """An issued invoice with names that strangers chose, and a credit note."""
    priced = await events.priced_service(price, name=FORMULA)
    await events.identity(merchant_changed(priced.merchant_id, HOSTILE))
    group = Group(priced, uuid7(), "2026-10-03")
    await events.usage(group.total(1500))
    await billing.issue("2026-10-31")
    (invoice,) = await billing.invoices()
    request = pb.CreateCreditNoteRequest(
        invoice_id=invoice.invoice_id, amount=Money(units=2), reason="<b>Sorry</b>"
    )
    await billing.ask("CreateCreditNote", request, uuid7(), ADMIN)
    return group, invoice


async def document(
    billing: Billing, invoice_id: str, kind: pb.DocumentFormat.ValueType, user_id: UUID, role: Role.ValueType
) -> pb.InvoiceDocument:
    request = pb.GetInvoiceDocumentRequest(invoice_id=invoice_id, format=kind)
    answer: pb.InvoiceDocument = await billing.ask("GetInvoiceDocument", request, user_id, role)
    return answer


class Words(HTMLParser):
    """The page's text, and its elements."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.parts: list[str] = []
        self.feed(page.decode())
        self.text = " ".join(" ".join(self.parts).split())

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.elements.add(tag)

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def pdf_text(content: bytes) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages).split())


EVERYWHERE = (
    "INV-000001",
    "to 2026-10-31, both with, days in UTC",
    HOSTILE,
    FORMULA,
    "1,500 requests",
    "above 0 up to 1,000",
    "above 1,000",
    "EUR 0.005",
    "EUR 13.50",
    "EUR 16.50",
    "Not charged: answers with 4xx.",
    "CN-000001",
    "<b>Sorry</b>",
)


async def test_pages_and_pdfs_say_all_that_the_reader_may_know(
    billing: Billing, events: Events, pseudonyms: Pseudonyms
) -> None:
    group, invoice = await billed(billing, events)
    merchant_id = group.priced.merchant_id
    pseudonym = pseudonyms.of_consumer(merchant_id, group.consumer_id)
    for user_id, role in ((merchant_id, MERCHANT), (group.consumer_id, CONSUMER), (uuid7(), ADMIN)):
        page = await document(billing, invoice.invoice_id, pb.DOCUMENT_HTML, user_id, role)
        file = await document(billing, invoice.invoice_id, pb.DOCUMENT_PDF, user_id, role)
        assert (page.file_name, file.file_name) == ("INV-000001.html", "INV-000001.pdf")
        for words in (Words(page.content).text, pdf_text(file.content)):
            assert [each for each in EVERYWHERE if each not in words] == []
            assert ("Commission" in words) == (role != CONSUMER)
            assert (pseudonym in words) == (role != CONSUMER)
            assert (str(group.consumer_id) in words) == (role != MERCHANT)
            assert str(group.priced.price_version_id) in words


async def test_an_invoice_says_what_its_own_prices_give_away_whatever_holds_by_now(
    billing: Billing, events: Events
) -> None:
    group, listed = await billed(billing, events)
    assert list(listed.not_charged) == []  # a list hasn't it
    invoice = await billing.get(listed.invoice_id)
    assert "Not charged: answers with 4xx." in invoice.not_charged
    # From the next month on they are charged.
    await events.new_price(group.priced, "0.01", "2026-11-01")
    assert await billing.get(listed.invoice_id) == invoice
    await events.usage(group.on("2026-11-03").total(5))
    (draft,) = await billing.draft()
    assert "Charged: answers with 4xx." in (await billing.get(draft.invoice_id)).not_charged
    assert "Not charged: answers with 4xx." not in (await billing.get(draft.invoice_id)).not_charged
    (note,) = await billing.invoices(kind=pb.CREDIT_NOTE)
    assert list((await billing.get(note.invoice_id)).not_charged) == []


async def test_a_file_says_that_its_roots_are_not_known_yet(billing: Billing, events: Events) -> None:
    _, invoice = await billed(billing, events)
    (note,) = await billing.invoices(kind=pb.CREDIT_NOTE)
    for invoice_id, is_said in ((invoice.invoice_id, True), (note.invoice_id, False)):
        page = await document(billing, invoice_id, pb.DOCUMENT_HTML, uuid7(), ADMIN)
        assert ("Roots digest none yet" in Words(page.content).text) is is_said


async def test_a_page_has_no_element_of_a_stranger_and_loads_nothing(
    billing: Billing, events: Events
) -> None:
    _, invoice = await billed(billing, events)
    page = await document(billing, invoice.invoice_id, pb.DOCUMENT_HTML, uuid7(), ADMIN)
    assert not {"script", "b", "img", "link", "iframe", "a", "form"} & Words(page.content).elements
    assert b"default-src 'none'" in page.content


async def test_a_csv_has_all_metadata_and_no_formula(billing: Billing, events: Events) -> None:
    group, invoice = await billed(billing, events)
    user_id = group.priced.merchant_id
    file = await document(billing, invoice.invoice_id, pb.DOCUMENT_CSV, user_id, MERCHANT)
    rows = list(csv.DictReader(io.StringIO(file.content.decode(), newline="")))
    assert [(row["line"], row["component"], row["amount"]) for row in rows] == [
        ("1", "0", "13.5"),
        ("2", "1", "3"),
    ]
    first = rows[0]
    assert first["steps"] == ("above 0 up to 1,000: 1000 x 0.01 = 10; above 1,000: 500 x 0.005 + 1 = 3.5")
    assert (first["number"], first["time_zone"], first["currency"]) == ("INV-000001", "UTC", "EUR")
    assert (first["subtotal"], first["credited"], first["commission"]) == ("16.5", "2", "1.65")
    assert (first["service_name"], first["corrected_by"]) == (f"'{FORMULA}", "CN-000001")
    assert (first["first_day"], first["last_day"], first["unit"]) == (
        invoice.first_day,
        "2026-10-31",
        "requests",
    )
    assert "consumer_id" not in first
    file = await document(billing, invoice.invoice_id, pb.DOCUMENT_CSV, group.consumer_id, CONSUMER)
    columns = set(file.content.decode().partition("\r\n")[0].split(","))
    assert not {"commission", "commission_rate", "total", "consumer_pseudonym"} & columns


@pytest.mark.parametrize("value", ["=1", "+1", "-1", "@a", " =1", "\t=1", "\r=1"])
def test_what_a_spreadsheet_would_run_is_text(value: str) -> None:
    assert text(value) == f"'{value}"


async def test_the_same_invoice_is_the_same_file(billing: Billing, events: Events, clock: SetClock) -> None:
    group, invoice = await billed(billing, events)
    for kind in (pb.DOCUMENT_PDF, pb.DOCUMENT_HTML, pb.DOCUMENT_CSV):
        first = await document(billing, invoice.invoice_id, kind, group.consumer_id, CONSUMER)
        clock.now = clock.now.replace(hour=23)
        assert await document(billing, invoice.invoice_id, kind, group.consumer_id, CONSUMER) == first


async def test_a_credit_note_names_what_it_corrects_and_why(billing: Billing, events: Events) -> None:
    group, _ = await billed(billing, events)
    (note,) = await billing.invoices(kind=pb.CREDIT_NOTE)
    page = await document(billing, note.invoice_id, pb.DOCUMENT_HTML, group.consumer_id, CONSUMER)
    words = Words(page.content).text
    for expected in ("Credit note CN-000001", "Corrects INV-000001", "<b>Sorry</b>", "Credited EUR 2.00"):
        assert expected in words


async def test_a_draft_of_many_lines_is_a_file_too(billing: Billing, events: Events) -> None:
    merchant_id, consumer_id = uuid7(), uuid7()
    for number in range(30):
        priced = await events.priced_service(TIERED, merchant_id=merchant_id, name=f"Service {number:02}")
        await events.usage(Group(priced, consumer_id, "2026-11-02").total(2000))
    (draft,) = await billing.draft()
    file = await document(billing, draft.invoice_id, pb.DOCUMENT_PDF, merchant_id, MERCHANT)
    words = pdf_text(file.content)
    assert file.file_name == "draft.pdf"
    assert all(f"Service {number:02}" in words for number in range(30))
    with pytest.raises(NotFoundError):
        await document(billing, draft.invoice_id, pb.DOCUMENT_PDF, consumer_id, CONSUMER)


async def test_strangers_get_no_document_and_no_other_format(billing: Billing, events: Events) -> None:
    group, invoice = await billed(billing, events)
    for user_id, role in ((uuid7(), MERCHANT), (uuid7(), CONSUMER), (group.consumer_id, MERCHANT)):
        with pytest.raises(NotFoundError):
            await document(billing, invoice.invoice_id, pb.DOCUMENT_PDF, user_id, role)
    with pytest.raises(InvalidArgumentError):
        await document(billing, invoice.invoice_id, 9, group.consumer_id, CONSUMER)  # type: ignore[arg-type]
