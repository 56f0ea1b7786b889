"""The SQL of proofs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from ams_common.queries import QueryStore, column, many, maybe_value, run
from ams_rating.charging import ChargeClass
from ams_rating.price_json import price_from_json
from ams_rating.proof import DayRoot, PriceVersion
from ams_rating.root_digest import root_digest


@dataclass(frozen=True, slots=True)
class UsageBehind:
    """What an invoice counts of one API key: the events of each source up to and with its last offset."""

    service_id: UUID
    day: date
    charge_class: ChargeClass
    api_key_id: UUID
    last_offsets: Mapping[str, int]
    requests: int
    request_bytes: int
    response_bytes: int


@dataclass(frozen=True, slots=True)
class Span:
    """Of an API key's events of a day and charge class those that one invoice counts: of each source up to
    and with its last offset, without those of the spans before it. `is_billed_before`: by an earlier invoice
    than the one that is asked about."""

    day: date
    charge_class: ChargeClass
    api_key_id: UUID
    last_offsets: Mapping[str, int]
    is_billed_before: bool


@dataclass(frozen=True, slots=True)
class UndigestedInvoice:
    """An issued invoice that has no digest of its roots yet, and the months of its lines."""

    invoice_id: UUID
    last_day: date
    months: Sequence[str]


def _usage(row: Mapping[str, Any]) -> UsageBehind:
    charge_class, last_offsets = ChargeClass(row["charge_class"]), json.loads(row["last_offsets"])
    return UsageBehind(**{**row, "charge_class": charge_class, "last_offsets": last_offsets})


def _span(row: Mapping[str, Any]) -> Span:
    charge_class, last_offsets = ChargeClass(row["charge_class"]), json.loads(row["last_offsets"])
    return Span(**{**row, "charge_class": charge_class, "last_offsets": last_offsets})


def _version(row: Mapping[str, Any]) -> PriceVersion:
    return PriceVersion(**{**row, "price": price_from_json(json.loads(row["price"]))})


class ProofStore(QueryStore, package="billing_svc.proofs"):
    """What the lines of an issued invoice were made of, and the digest of its roots."""

    list_usage_behind = many(row=_usage)
    list_spans_behind = many(row=_span)
    list_versions_behind = many(row=_version)
    list_merchants_without_digests = column(UUID)
    list_invoices_without_digests = many(UndigestedInvoice)
    _set_digest = run()
    find_digest = maybe_value(bytes)
    _find_last_editions = maybe_value(str)

    async def set_digest(self, invoice_ids: Sequence[UUID], roots: Sequence[DayRoot]) -> int:
        """Says for ever that these roots, by day and edition, are the invoices'; returns how many had none
        yet."""
        return await self._set_digest(
            invoice_ids=invoice_ids,
            last_editions=json.dumps({root.day.isoformat(): root.edition for root in roots}),
            digest=root_digest(roots),
        )

    async def find_last_editions(self, invoice_id: UUID) -> Mapping[date, int] | None:
        """Which trees of which days the invoice's digest stands for: the last edition of each day, and those
        before it. None while it has no digest."""
        found = await self._find_last_editions(invoice_id=invoice_id)
        if found is None:
            return None
        return {date.fromisoformat(day): edition for day, edition in json.loads(found).items()}
