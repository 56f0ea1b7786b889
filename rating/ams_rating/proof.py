"""The file that `ams-verify` reads: what an invoice says, and what it rests on. JSON Lines, described in
docs/proofs.md; this module writes and reads every row of it.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from typing import Any, get_type_hints
from uuid import UUID

from ams_rating.charging import ChargeClass
from ams_rating.price_json import format_amount, price_from_json, price_to_json
from ams_rating.prices import Price

FORMAT = "ams-invoice-proof/1"
MAX_FIGURE = 2**63 - 1
_AMOUNT = re.compile(r"-?[0-9]{1,24}(\.[0-9]{1,12})?")
_MAX_TEXT = 1000


@dataclass(frozen=True, slots=True)
class Invoice:
    """`consumer` is the merchant's pseudonym for the consumer. Days are UTC, both with. Commission isn't the
    consumer's business, so it isn't in the file."""

    invoice_id: UUID
    number: str
    merchant_id: UUID
    consumer: str
    first_day: date
    last_day: date
    currency: str
    subtotal: Decimal


@dataclass(frozen=True, slots=True)
class Line:
    """As ams.billing.v1.InvoiceLine: `quantity` and `rated_amount` are the month's so far under the price
    version, `amount` is what this invoice adds. `position` counts the invoice's lines from 1."""

    position: int
    service_id: UUID
    price_version_id: UUID
    month: str
    first_day: date
    last_day: date
    component: int
    quantity: Decimal
    rated_amount: Decimal
    billed_before: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """`starts_on` is the UTC day from which it is in force."""

    price_version_id: UUID
    service_id: UUID
    starts_on: date
    price: Price


@dataclass(frozen=True, slots=True)
class Usage:
    """What the invoice counts of a service's day and of one charge class: events up to and with the offset
    that is the last of their source."""

    service_id: UUID
    day: date
    charge_class: ChargeClass
    last_offsets: Mapping[str, int]
    requests: int
    request_bytes: int
    response_bytes: int


@dataclass(frozen=True, slots=True)
class DayRoot:
    """As ams.usage.v1.DayRoot: a tree over `events` of the merchant's events of a UTC day."""

    merchant_id: UUID
    day: date
    edition: int
    events: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """As ams.usage.v1.ProvenEvent: a leaf (ams_rating.events) as text, and where it stands in which of its
    day's trees. Edition 0: its day hasn't been closed, so there is no tree yet."""

    leaf: str
    edition: int
    index: int
    path: tuple[bytes, ...]


Record = Invoice | Line | PriceVersion | Usage | DayRoot | Event

_RECORDS: dict[str, type[Record]] = {
    "invoice": Invoice,
    "line": Line,
    "price_version": PriceVersion,
    "usage": Usage,
    "day_root": DayRoot,
    "event": Event,
}
_NAMES = {kind: name for name, kind in _RECORDS.items()}


def write_head(
    invoice: Invoice,
    lines: Iterable[Line],
    price_versions: Iterable[PriceVersion],
    usage: Iterable[Usage],
    roots: Iterable[DayRoot],
) -> bytes:
    """The file's beginning. What follows is `write` of every event, in the order of service, month and
    event id."""
    records: tuple[Record, ...] = (invoice, *lines, *price_versions, *usage, *roots)
    return _row({"format": FORMAT}) + b"".join(write(each) for each in records)


def write(record: Record) -> bytes:
    """A row of the file, with its end."""
    forms = _FIELDS[type(record)].items()
    return _row(
        {"record": _NAMES[type(record)]} | {name: form.write(getattr(record, name)) for name, form in forms}
    )


def is_header(row: bytes) -> bool:
    """Whether this is the first row of a file in this format."""
    try:
        return bool(_object(row) == {"format": FORMAT})
    except ValueError:
        return False


def read(row: bytes) -> Record:
    """The record of a row. Raises ValueError, saying which field is why, for what `write` doesn't write."""
    data = _object(row)
    kind = _RECORDS.get(str(data.pop("record", None)))
    if kind is None:
        raise ValueError("it is no record of this format")
    forms = _FIELDS[kind]
    if data.keys() != forms.keys():
        raise ValueError(f"its fields aren't {', '.join(forms)}")
    return kind(**{name: _value(name, form, data[name]) for name, form in forms.items()})


@dataclass(frozen=True, slots=True)
class _Form:
    """How values of a type stand in JSON, and what they are called when they don't."""

    name: str
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def _row(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"


def _object(row: bytes) -> dict[str, Any]:
    try:
        data = json.loads(row)
    except (ValueError, RecursionError):
        raise ValueError("it isn't JSON") from None
    if not isinstance(data, dict):
        raise ValueError("it isn't a JSON object")
    return data


def _value(name: str, form: _Form, data: Any) -> Any:
    try:
        value = form.read(data)
        # One form for each value: "1.50" and 1.0 aren't what is written for 1.5 and 1.
        is_good = type(data) is type(written := form.write(value)) and data == written
    except (ValueError, TypeError, AttributeError, ArithmeticError):
        is_good = False
    if not is_good:
        raise ValueError(f"its {name} isn't {form.name}")
    return value


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes_of(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _figure(data: int) -> int:
    if not 0 <= data <= MAX_FIGURE:
        raise ValueError("out of range")
    return data


def _offsets(data: Mapping[str, int]) -> Mapping[str, int]:
    if not all(type(offset) is int for offset in data.values()):
        raise ValueError("not integers")
    return {_text(source): _figure(offset) for source, offset in sorted(data.items())}


def _text(data: str) -> str:
    # It is printed on a terminal, and the file may be a stranger's.
    if not data.isprintable() or len(data) > _MAX_TEXT:
        raise ValueError("not printable")
    return data


def _amount(data: str) -> Decimal:
    if not _AMOUNT.fullmatch(data):
        raise ValueError("not an amount")
    return Decimal(data)


_FORMS: dict[Any, _Form] = {
    str: _Form("a short printable text", str, _text),
    int: _Form("an integer from 0 to 2^63 - 1", int, _figure),
    Decimal: _Form('a text such as "12.5"', format_amount, _amount),
    UUID: _Form("a UUID in lower case", str, UUID),
    date: _Form("a day such as 2026-11-29", date.isoformat, date.fromisoformat),
    ChargeClass: _Form("a charge class", lambda kind: kind.value, ChargeClass),
    Price: _Form("a price", price_to_json, price_from_json),
    Mapping[str, int]: _Form("offsets by source", _offsets, _offsets),
    bytes: _Form("base64", _base64, _bytes_of),
    tuple[bytes, ...]: _Form(
        "a list of base64",
        lambda path: [_base64(each) for each in path],
        lambda path: tuple(_bytes_of(each) for each in path),
    ),
}
_FIELDS: dict[type[Any], Mapping[str, _Form]] = {
    kind: {each.name: _FORMS[get_type_hints(kind)[each.name]] for each in fields(kind)}
    for kind in _RECORDS.values()
}
