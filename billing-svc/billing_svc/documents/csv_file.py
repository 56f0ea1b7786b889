"""An invoice as CSV: a row a line, each with all that is known of the invoice. Pure."""

import csv
import io
from collections.abc import Iterator

from ams.billing.v1 import billing_service_pb2 as pb
from ams_common.money import to_decimal
from ams_rating.price_json import format_amount
from google.type.money_pb2 import Money

from billing_svc.documents.content import (
    kind_of,
    moment_of,
    span_of,
    status_of,
    unit_of,
)


def csv_of(invoice: pb.Invoice) -> bytes:
    """RFC 4180 in UTF-8. Amounts are plain decimals in the invoice's currency."""
    head = dict(_head(invoice))
    rows = [head | dict(_line(at, line)) for at, line in enumerate(invoice.lines, start=1)] or [head]
    written = io.StringIO()
    writer = csv.DictWriter(written, list(rows[0]), restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue().encode()


def text(value: str) -> str:
    """A stranger's text that no spreadsheet takes for a formula."""
    return (
        f"'{value}" if value.lstrip().startswith(("=", "+", "-", "@")) or value[:1] in ("\t", "\r") else value
    )


def _head(invoice: pb.Invoice) -> Iterator[tuple[str, str]]:
    yield "kind", "credit_note" if invoice.kind == pb.CREDIT_NOTE else "invoice"
    yield "number", invoice.number
    yield "invoice_id", invoice.invoice_id
    yield "status", status_of(invoice)
    yield "first_day", invoice.first_day
    yield "last_day", invoice.last_day
    yield "time_zone", "UTC"
    yield "issued_at", moment_of(invoice, "issued_at")
    yield "due_on", invoice.due_on
    yield "paid_at", moment_of(invoice, "paid_at")
    yield "sent_at", moment_of(invoice, "sent_at")
    yield "merchant_id", invoice.merchant_id
    yield "merchant_name", text(invoice.merchant_name)
    if invoice.consumer_id:
        yield "consumer_id", invoice.consumer_id
    if invoice.consumer_pseudonym:
        yield "consumer_pseudonym", invoice.consumer_pseudonym
    yield "currency", invoice.subtotal.currency_code
    yield "subtotal", _amount(invoice.subtotal)
    yield "credited", _amount(invoice.credited)
    # The consumer's message has no commission.
    if invoice.HasField("commission"):
        yield "commission_rate", invoice.commission_rate
        yield "commission", _amount(invoice.commission)
        yield "total", _amount(invoice.total)
    yield "corrects", invoice.corrects_number
    yield "reason", text(invoice.reason)
    yield "corrected_by", " ".join(note.number for note in invoice.credit_notes)
    yield "not_charged", text(" ".join(invoice.not_charged))
    yield "roots_digest", invoice.roots_digest


def _line(position: int, line: pb.InvoiceLine) -> Iterator[tuple[str, str]]:
    is_credit = line.kind == pb.CREDIT
    yield "line", str(position)
    yield "line_kind", kind_of(line).lower()
    yield "service_id", line.service_id
    yield "service_name", text(line.service_name)
    yield "price_version_id", line.price_version_id
    yield "month", line.month
    yield "line_first_day", line.first_day
    yield "line_last_day", line.last_day
    yield "component", "" if is_credit else str(line.component)
    yield "description", text(line.description)
    yield "quantity", line.quantity
    yield "unit", "" if is_credit else unit_of(line)
    yield "steps", "; ".join(map(_step, line.steps))
    yield "rated_amount", "" if is_credit else _amount(line.rated_amount)
    yield "billed_before", "" if is_credit else _amount(line.billed_before)
    yield "amount", _amount(line.amount)


def _step(step: pb.RatedStep) -> str:
    flat = f" + {_amount(step.flat_amount)}" if to_decimal(step.flat_amount) else ""
    return f"{span_of(step)}: {step.quantity} x {_amount(step.unit_amount)}{flat} = {step.amount}"


def _amount(value: Money) -> str:
    return format_amount(to_decimal(value))
