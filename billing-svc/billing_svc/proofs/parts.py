"""The parts of a proof file, and the tokens between them. Pure."""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple
from uuid import UUID

from ams.usage.v1 import usage_service_pb2 as usage_pb
from ams_common.pseudonyms import Pseudonyms
from ams_rating import proof
from ams_rating.charging import ChargeClass
from ams_rating.events import UsageEvent, read_leaf

from billing_svc.invoices import Invoice, Line
from billing_svc.periods import first_day_of, last_day_of
from billing_svc.proofs.store import UsageBehind

_ROWS_PER_PART = 2000
_HEADER = json.dumps({"format": proof.FORMAT}, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class PartToken:
    """Which part of a file comes next: rows of its beginning from `at` on, its roots, or the events of the
    group `at` from usage-svc's own token on."""

    kind: str
    at: int
    usage_token: str = ""

    def encode(self) -> str:
        text = f"{self.kind}/{self.at}/{self.usage_token}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


FIRST_PART = PartToken("rows", 0)


def parse_token(text: str) -> PartToken:
    """Raises ValueError for what encode() doesn't make."""
    if not text:
        return FIRST_PART
    try:
        kind, at, usage_token = (
            base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode().split("/")
        )
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    token = PartToken(kind, int(at), usage_token)
    if kind not in ("rows", "roots", "events") or token.at < 0 or token.encode() != text:
        raise ValueError("no token of a proof file")
    return token


class EventGroup(NamedTuple):
    """Events that stand together in a file, in the order of their ids."""

    service_id: UUID
    month: str


def groups_of(invoice: Invoice) -> list[EventGroup]:
    return sorted({EventGroup(line.rated.key.service_id, line.rated.key.month) for line in _lines(invoice)})


def days_of(invoice: Invoice, group: EventGroup) -> tuple[date, date]:
    return first_day_of(group.month), min(last_day_of(group.month), invoice.last_day)


def head_rows(
    invoice: Invoice,
    versions: Iterable[proof.PriceVersion],
    usage: Iterable[UsageBehind],
    pseudonyms: Pseudonyms,
) -> Iterator[proof.Record]:
    """All that comes before the roots."""
    yield proof.Invoice(
        invoice_id=invoice.invoice_id,
        number=invoice.number,
        merchant_id=invoice.merchant_id,
        consumer=pseudonyms.of_consumer(invoice.merchant_id, invoice.consumer_id),
        first_day=invoice.first_day,
        last_day=invoice.last_day,
        currency=invoice.currency,
        subtotal=invoice.subtotal,
    )
    for position, line in enumerate(_lines(invoice), start=1):
        yield proof.Line(
            position=position,
            service_id=line.rated.key.service_id,
            price_version_id=line.rated.key.price_version_id,
            month=line.rated.key.month,
            first_day=line.rated.first_day,
            last_day=line.rated.last_day,
            component=line.rated.key.component,
            quantity=line.rated.quantity,
            rated_amount=line.rated.rated_amount,
            billed_before=line.billed_before,
            amount=line.amount,
        )
    yield from versions
    yield from _summed(usage)


def rows_part(rows: Sequence[proof.Record], at: int) -> tuple[bytes, PartToken]:
    """Some of the head's rows, and what follows."""
    content = b"".join(map(proof.write, rows[at : at + _ROWS_PER_PART]))
    if at == 0:
        content = _HEADER + content
    end = at + _ROWS_PER_PART
    return content, PartToken("rows", end) if end < len(rows) else PartToken("roots", 0)


def day_root(message: usage_pb.DayRoot) -> proof.DayRoot:
    """What usage-svc has published."""
    return proof.DayRoot(
        merchant_id=UUID(message.merchant_id),
        day=date.fromisoformat(message.day),
        edition=message.edition,
        events=message.events,
        root=message.root,
    )


def root_rows(
    invoice: Invoice, roots: Iterable[proof.DayRoot], last_editions: Mapping[date, int] | None
) -> bytes:
    """Those of the roots that the invoice's digest stands for; without one all there are of its days."""
    return b"".join(
        proof.write(root)
        for root in roots
        if root.day <= invoice.last_day
        and (last_editions is None or root.edition <= last_editions.get(root.day, 0))
    )


# What an invoice counts of an API key on a day and of a charge class: up to which offset of which source.
Bounds = Mapping[tuple[UUID, date, ChargeClass, str], Mapping[str, int]]


def bounds_of(invoice: Invoice, usage: Iterable[UsageBehind], pseudonyms: Pseudonyms) -> Bounds:
    bounds: dict[tuple[UUID, date, ChargeClass, str], Mapping[str, int]] = {}
    for each in usage:
        api_key = pseudonyms.of_key(invoice.merchant_id, each.api_key_id)
        key = (each.service_id, each.day, each.charge_class, api_key)
        bounds[key] = _furthest(bounds.get(key, {}), each.last_offsets)
    return bounds


def _furthest(one: Mapping[str, int], other: Mapping[str, int]) -> Mapping[str, int]:
    return {source: max(one.get(source, 0), other.get(source, 0)) for source in one.keys() | other.keys()}


def event_rows(events: Iterable[usage_pb.ProvenEvent], bounds: Bounds) -> bytes:
    """The rows of those of the events that the invoice counts. What a price doesn't charge, test calls, and
    what came later are in none of its usage."""
    return b"".join(
        proof.write(
            proof.Event(event.leaf.decode("ascii"), event.edition, event.index, tuple(event.audit_path))
        )
        for event in events
        if _is_counted(read_leaf(event.leaf), bounds)
    )


def _is_counted(event: UsageEvent, bounds: Bounds) -> bool:
    bounds_of_key = bounds.get((event.service_id, event.day, event.charge_class, event.api_key), {})
    return not event.is_test and event.offset <= bounds_of_key.get(event.source, -1)


def _lines(invoice: Invoice) -> Iterator[Line]:
    return (line for line in invoice.lines if isinstance(line, Line))


def _summed(usage: Iterable[UsageBehind]) -> Iterator[proof.Usage]:
    """Over the API keys, in the same order."""
    rows: dict[tuple[UUID, date, ChargeClass], proof.Usage] = {}
    for each in usage:
        key = (each.service_id, each.day, each.charge_class)
        known = rows.get(key, proof.Usage(*key, {}, 0, 0, 0))
        rows[key] = proof.Usage(
            *key,
            _furthest(known.last_offsets, each.last_offsets),
            known.requests + each.requests,
            known.request_bytes + each.request_bytes,
            known.response_bytes + each.response_bytes,
        )
    yield from rows.values()
