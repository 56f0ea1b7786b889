"""Between rows and what the rules work with. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from ams_rating.charging import ChargeClass
from ams_rating.currencies import MINOR_UNIT_DIGITS
from ams_rating.price_json import format_amount, price_from_json
from ams_rating.prices import Meter, Price
from ams_rating.rate import Counts, Step

from billing_svc.invoices import Billed, Credit, CreditNote, Invoice, InvoiceContent, Line
from billing_svc.rating import LineKey, PriceVersion, RatedLine, Usage

Row = Mapping[str, Any]


class Pair(NamedTuple):
    """Who is billed by whom."""

    merchant_id: UUID
    consumer_id: UUID


# Columns, for unnest().
Counters = tuple[Sequence[Any], ...]


@dataclass(frozen=True, slots=True)
class CountedUsage:
    """A row of usage of one charge class. The counters that it is summed from are in `counters` where they
    were asked for: id, events, requests, bytes of requests and answers, last offsets as JSON."""

    usage: Usage
    charge_class: ChargeClass
    counters: Counters = ()

    @property
    def pair(self) -> Pair:
        return Pair(self.usage.merchant_id, self.usage.consumer_id)


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """A row of usage of one key, in one project; `day` is None where a month's days aren't told apart."""

    usage: Usage
    api_key_id: UUID
    project_id: UUID | None
    day: date | None


def key_usage(row: Row) -> KeyUsage:
    return KeyUsage(counted_usage(row).usage, row["api_key_id"], row["project_id"], row["day"])


def counted_usage(row: Row) -> CountedUsage:
    version = None
    if row["price_version_id"] is not None:
        version = PriceVersion(row["price_version_id"], _price(row["price"]))
    charge_class = ChargeClass(row["charge_class"])
    usage = Usage(
        merchant_id=row["merchant_id"],
        consumer_id=row["consumer_id"],
        service_id=row["service_id"],
        service_name=row["service_name"],
        month=row["month"],
        first_day=row["first_day"],
        last_day=row["last_day"],
        version=version,
        counts={charge_class: _counts(row)},
    )
    counters = tuple(row[name] for name in _COUNTER_COLUMNS) if "counter_ids" in row else ()
    return CountedUsage(usage, charge_class, counters)


_COUNTER_COLUMNS = (
    "counter_ids",
    "counter_events",
    "counter_requests",
    "counter_request_bytes",
    "counter_response_bytes",
    "counter_last_offsets",
)


@lru_cache(maxsize=10_000)
def _price(text: str) -> Price:
    return price_from_json(json.loads(text))


def _counts(row: Row) -> Counts:
    return Counts(row["requests"], row["request_bytes"], row["response_bytes"])


def rated_line(row: Row, currency: str) -> RatedLine:
    return RatedLine(
        key=LineKey(row["service_id"], row["month"], row["price_version_id"], row["component"]),
        service_name=row["service_name"],
        currency=currency,
        first_day=row["first_day"],
        last_day=row["last_day"],
        meter=None if row["meter"] is None else Meter(row["meter"]),
        description=row["description"],
        quantity=row["quantity"],
        steps=steps_from_json(row["steps"]) if "steps" in row else (),
        rated_amount=row["rated_amount"],
        counts=_counts(row),
    )


def billed(row: Row) -> tuple[Pair, Billed]:
    pair = Pair(row["merchant_id"], row["consumer_id"])
    return pair, Billed(rated_line(row, row["currency"]), row["billed"])


def stored_line(row: Row, currency: str) -> Line | Credit:
    if row["kind"] == "credit":
        return Credit(row["description"], row["amount"])
    return Line(rated_line(row, currency), row["billed_before"], row["amount"], row["kind"] == "adjustment")


def stored_invoice(row: Row, lines: Sequence[Line | Credit]) -> Invoice:
    notes = tuple(_credit_note(*each) for each in json.loads(row["credit_notes"] or "[]"))
    said = {**row, "credit_notes": notes, "corrects_number": row["corrects_number"] or ""}
    return Invoice(**said, lines=tuple(lines))


def _credit_note(invoice_id: str, number: str, issued_at: str, amount: str, reason: str) -> CreditNote:
    return CreditNote(UUID(invoice_id), number, datetime.fromisoformat(issued_at), Decimal(amount), reason)


INVOICE_COLUMNS = (
    "invoice_id",
    "kind",
    "merchant_id",
    "merchant_name",
    "consumer_id",
    "first_day",
    "last_day",
    "currency",
    "minor_unit_digits",
    "subtotal",
    "commission_rate",
    "commission",
    "total",
    "created_at",
    "updated_at",
)


def invoice_record(
    invoice_id: UUID, content: InvoiceContent, merchant_name: str, created_at: datetime, now: datetime
) -> tuple[Any, ...]:
    """A draft's values of INVOICE_COLUMNS."""
    return (
        invoice_id,
        "invoice",
        content.merchant_id,
        merchant_name,
        content.consumer_id,
        content.first_day,
        content.last_day,
        content.currency,
        MINOR_UNIT_DIGITS[content.currency],
        content.subtotal,
        content.commission_rate,
        content.commission,
        content.total,
        created_at,
        now,
    )


LINE_COLUMNS = (
    "invoice_id",
    "position",
    "kind",
    "description",
    "amount",
    "service_id",
    "service_name",
    "price_version_id",
    "month",
    "first_day",
    "last_day",
    "component",
    "meter",
    "quantity",
    "steps",
    "rated_amount",
    "billed_before",
    "requests",
    "request_bytes",
    "response_bytes",
)


def line_record(invoice_id: UUID, position: int, line: Line) -> tuple[Any, ...]:
    """A line's values of LINE_COLUMNS."""
    rated = line.rated
    return (
        invoice_id,
        position,
        "adjustment" if line.is_adjustment else "usage",
        rated.description,
        line.amount,
        rated.key.service_id,
        rated.service_name,
        rated.key.price_version_id,
        rated.key.month,
        rated.first_day,
        rated.last_day,
        rated.key.component,
        None if rated.meter is None else rated.meter.value,
        rated.quantity,
        steps_to_json(rated.steps),
        rated.rated_amount,
        line.billed_before,
        rated.counts.requests,
        rated.counts.request_bytes,
        rated.counts.response_bytes,
    )


def steps_to_json(steps: Sequence[Step]) -> str:
    """Amounts and quantities are texts, for JSON's numbers aren't exact."""
    return json.dumps(
        [
            {
                "from": format_amount(step.start),
                "to": None if step.end is None else format_amount(step.end),
                "quantity": format_amount(step.quantity),
                "unit_amount": format_amount(step.unit_amount),
                "flat_amount": format_amount(step.flat_amount),
                "amount": format_amount(step.amount),
            }
            for step in steps
        ]
    )


def steps_from_json(text: str) -> tuple[Step, ...]:
    return tuple(
        Step(
            start=Decimal(step["from"]),
            end=None if step["to"] is None else Decimal(step["to"]),
            quantity=Decimal(step["quantity"]),
            unit_amount=Decimal(step["unit_amount"]),
            flat_amount=Decimal(step["flat_amount"]),
            amount=Decimal(step["amount"]),
        )
        for step in json.loads(text)
    )
