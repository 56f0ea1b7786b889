"""What the document of an invoice says, in words. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams.catalog.v1 import pricing_pb2
from ams_common.clock import from_timestamp
from ams_common.money import to_decimal
from ams_rating.price_words import describe_charge_rule, money
from ams_rating.prices import Price
from google.type.money_pb2 import Money

_STATUSES = {
    pb.INVOICE_DRAFT: "Draft",
    pb.INVOICE_ISSUED: "Issued",
    pb.INVOICE_PAID: "Paid",
    pb.INVOICE_OVERDUE: "Overdue",
    pb.INVOICE_VOID: "Void",
}
_LINE_KINDS = {pb.USAGE: "Usage", pb.ADJUSTMENT: "Adjustment", pb.CREDIT: "Credit"}
_UNITS = {
    pricing_pb2.REQUESTS: "requests",
    pricing_pb2.REQUEST_MEGABYTES: "MB of request data",
    pricing_pb2.RESPONSE_MEGABYTES: "MB of response data",
    pricing_pb2.MEGABYTES: "MB of data",
    pricing_pb2.EXECUTIONS: "executions",
}
ADJUSTMENT_WORDS = "Of a month that was billed before: what has come since, or is due to a change."


@dataclass(frozen=True, slots=True)
class Fact:
    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Step:
    """How a part of a quantity was rated."""

    span: str
    quantity: str
    unit_amount: str
    flat_amount: str
    amount: str


@dataclass(frozen=True, slots=True)
class DocumentLine:
    position: int
    kind: str
    title: str
    description: str
    quantity: str
    steps: tuple[Step, ...]
    facts: tuple[Fact, ...]
    amount: str


@dataclass(frozen=True, slots=True)
class Document:
    """`facts` head it, `sums` end its lines. `not_charged` are sentences, `corrections` too."""

    title: str
    merchant_name: str
    facts: tuple[Fact, ...]
    lines: tuple[DocumentLine, ...]
    sums: tuple[Fact, ...]
    not_charged: tuple[str, ...]
    corrections: tuple[str, ...]


def document_of(invoice: pb.Invoice) -> Document:
    """What whoever gets `invoice` may read, which is as GetInvoice answers. The same invoice gives the same
    document."""
    return Document(
        title=title_of(invoice),
        merchant_name=invoice.merchant_name or invoice.merchant_id,
        facts=tuple(_facts(invoice)),
        lines=tuple(_line(at, line) for at, line in enumerate(invoice.lines, start=1)),
        sums=tuple(_sums(invoice)),
        not_charged=tuple(invoice.not_charged),
        corrections=tuple(_corrections(invoice)),
    )


def title_of(invoice: pb.Invoice) -> str:
    kind = "Credit note" if invoice.kind == pb.CREDIT_NOTE else "Invoice"
    return f"{kind} {invoice.number}" if invoice.number else f"{kind} (draft)"


def status_of(invoice: pb.Invoice) -> str:
    if invoice.is_nothing_due and invoice.status in (pb.INVOICE_ISSUED, pb.INVOICE_OVERDUE):
        return "Nothing to pay"
    return _STATUSES[invoice.status]


def kind_of(line: pb.InvoiceLine) -> str:
    return _LINE_KINDS[line.kind]


def unit_of(line: pb.InvoiceLine) -> str:
    """What a line's quantity counts; a monthly fee's are months."""
    return _UNITS.get(line.meter, "month" if line.quantity == "1" else "months")


def moment_of(invoice: pb.Invoice, field: str) -> str:
    """A time of the invoice in UTC, to the second; "" if it hasn't come."""
    if not invoice.HasField(field):  # type: ignore[arg-type]
        return ""
    return f"{from_timestamp(getattr(invoice, field)).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def not_charged(invoice: pb.Invoice, prices: Mapping[UUID, Price]) -> Iterator[str]:
    """What the prices of the lines give away, each sentence once; several rules name their services."""
    rules: dict[tuple[str, ...], list[str]] = {}
    for line in invoice.lines:
        price = prices.get(UUID(line.price_version_id)) if line.price_version_id else None
        if price is not None:
            services = rules.setdefault(tuple(describe_charge_rule(price)), [])
            if line.service_name not in services:
                services.append(line.service_name)
    for rule, services in rules.items():
        where = f"{', '.join(services)}: " if len(rules) > 1 else ""
        yield from (f"{where}{sentence}" for sentence in rule)
    if rules:
        yield "Not charged: calls with test keys."


def amount_of(value: Money) -> str:
    return money(to_decimal(value), value.currency_code)


def _facts(invoice: pb.Invoice) -> Iterator[Fact]:
    yield Fact("Number", invoice.number or "none yet")
    yield Fact("Status", status_of(invoice))
    yield Fact("Period", f"{invoice.first_day} to {invoice.last_day}, both with, days in UTC")
    yield Fact("Issued", moment_of(invoice, "issued_at") or "not yet")
    if invoice.due_on:
        yield Fact("Due on", f"{invoice.due_on} (UTC)")
    if paid_at := moment_of(invoice, "paid_at"):
        yield Fact("Paid", paid_at)
    yield Fact("Merchant", invoice.merchant_name or invoice.merchant_id)
    # Who may know it has it in the message.
    consumer = [each for each in (invoice.consumer_pseudonym, invoice.consumer_id) if each]
    yield Fact("Consumer", " / ".join(consumer))
    yield Fact("Currency", invoice.subtotal.currency_code)
    yield Fact("Id", invoice.invoice_id)
    if invoice.kind == pb.INVOICE and invoice.status != pb.INVOICE_DRAFT:
        yield Fact("Roots digest", invoice.roots_digest or "none yet: it comes some hours after the last day")
    if invoice.corrects_number:
        yield Fact("Corrects", invoice.corrects_number)
    if invoice.reason:
        yield Fact("Reason", invoice.reason)


def _line(position: int, line: pb.InvoiceLine) -> DocumentLine:
    if line.kind == pb.CREDIT:
        return DocumentLine(
            position, kind_of(line), "Credit", line.description, "", (), (), amount_of(line.amount)
        )
    facts = [
        Fact("Service", line.service_id),
        Fact("Days", f"{line.first_day} to {line.last_day} (UTC)"),
        Fact("Price version", line.price_version_id),
        Fact("Month's amount so far", amount_of(line.rated_amount)),
        Fact("Billed before", amount_of(line.billed_before)),
    ]
    if line.kind == pb.ADJUSTMENT:
        facts.append(Fact("Adjustment", ADJUSTMENT_WORDS))
    return DocumentLine(
        position=position,
        kind=kind_of(line),
        title=f"{line.service_name}, {line.month}",
        description=line.description,
        quantity=f"{_grouped(line.quantity)} {unit_of(line)}",
        steps=tuple(_step(step) for step in line.steps),
        facts=tuple(facts),
        amount=amount_of(line.amount),
    )


def span_of(step: pb.RatedStep) -> str:
    start = getattr(step, "from")  # a word of Python
    if step.to:
        return f"above {_grouped(start)} up to {_grouped(step.to)}"
    return f"above {_grouped(start)}" if start not in ("", "0") else "all"


def _step(step: pb.RatedStep) -> Step:
    currency = step.unit_amount.currency_code
    return Step(
        span=span_of(step),
        quantity=_grouped(step.quantity),
        unit_amount=amount_of(step.unit_amount),
        flat_amount=amount_of(step.flat_amount),
        amount=money(Decimal(step.amount), currency),
    )


def _sums(invoice: pb.Invoice) -> Iterator[Fact]:
    if invoice.kind == pb.CREDIT_NOTE:
        yield Fact("Credited", amount_of(invoice.subtotal))
    else:
        yield Fact("Subtotal", amount_of(invoice.subtotal))
        credited = to_decimal(invoice.credited)
        if credited:
            due = to_decimal(invoice.subtotal) - credited
            yield Fact("Credited", f"-{amount_of(invoice.credited)}")
            yield Fact("Left to pay", money(due, invoice.subtotal.currency_code))
    # The consumer's message has no commission.
    if invoice.HasField("commission"):
        yield Fact(f"Commission (rate {invoice.commission_rate})", amount_of(invoice.commission))
        yield Fact("Net of commission", amount_of(invoice.total))


def _corrections(invoice: pb.Invoice) -> Iterator[str]:
    for note in invoice.credit_notes:
        day = f"{from_timestamp(note.issued_at).astimezone(UTC):%Y-%m-%d}"
        yield f"{note.number} of {day} credits {amount_of(note.amount)}: {note.reason}"


def _grouped(number: str) -> str:
    return f"{Decimal(number):,f}" if number else ""
