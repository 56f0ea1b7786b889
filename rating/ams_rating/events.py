"""A usage event as bytes: the leaf of a day's tree (docs/proofs.md).

Whoever writes the same event writes the same bytes, and everything that an invoice depends on is in them.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

from ams_rating.charging import ChargeClass, charge_class

FORMAT = "ams-usage-event/1"
MAX_FIGURE = 2**63 - 1
_LINE = re.compile(rb"[!-~]+")  # printable ASCII without the space
_KINDS = {"live": False, "test": True}
_PARTS = {"call": False, "continuation": True}


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """What was recorded of a call, or of a part of one that lasts.

    `consumer` and `api_key` are pseudonyms, the merchant's names for them, for both sides of a bill read this
    (PRD-4.2). `outcome` is one that `charge_class` knows. `source` and `offset` say where it was read: in
    which incarnation and partition of the topic, and at which number; events written together share it.
    """

    event_id: UUID
    occurred_at: datetime
    merchant_id: UUID
    consumer: str
    api_key: str
    service_id: UUID
    outcome: str
    status_code: int
    request_bytes: int
    response_bytes: int
    is_test: bool
    is_continuation: bool
    source: str
    offset: int

    @property
    def day(self) -> date:
        """The UTC day that it is billed in."""
        return self.occurred_at.astimezone(UTC).date()

    @property
    def charge_class(self) -> ChargeClass:
        return charge_class(self.outcome, self.status_code)


def write_leaf(event: UsageEvent) -> bytes:
    """The event's fields in this order, between vertical bars. Raises ValueError for what can't be written so
    that it reads back the same."""
    charge_class(event.outcome, event.status_code)
    figures = (event.status_code, event.request_bytes, event.response_bytes, event.offset)
    if min(figures) < 0 or max(figures) > MAX_FIGURE:
        raise ValueError("an event's figures are from 0 to 2^63 - 1")
    if event.occurred_at.tzinfo is None:
        raise ValueError("an event's time needs a zone")
    occurred_at = event.occurred_at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    fields = (
        FORMAT,
        str(event.event_id),
        f"{occurred_at}Z",
        str(event.merchant_id),
        event.consumer,
        event.api_key,
        str(event.service_id),
        event.outcome,
        str(event.status_code),
        str(event.request_bytes),
        str(event.response_bytes),
        "test" if event.is_test else "live",
        "continuation" if event.is_continuation else "call",
        event.source,
        str(event.offset),
    )
    line = "|".join(fields).encode()
    if not all(fields) or line.count(b"|") != len(fields) - 1 or not _LINE.fullmatch(line):
        raise ValueError(
            "an event's texts are printable ASCII without spaces and vertical bars, and not empty"
        )
    return line


def read_leaf(leaf: bytes) -> UsageEvent:
    """The event that these bytes are. Raises ValueError for any that `write_leaf` would have written
    otherwise, so that no event has two leaves."""
    try:
        (
            form,
            event_id,
            occurred_at,
            merchant_id,
            consumer,
            api_key,
            service_id,
            outcome,
            status_code,
            request_bytes,
            response_bytes,
            kind,
            part,
            source,
            offset,
        ) = leaf.decode("ascii").split("|")
        event = UsageEvent(
            event_id=UUID(event_id),
            occurred_at=datetime.fromisoformat(occurred_at),
            merchant_id=UUID(merchant_id),
            consumer=consumer,
            api_key=api_key,
            service_id=UUID(service_id),
            outcome=outcome,
            status_code=int(status_code),
            request_bytes=int(request_bytes),
            response_bytes=int(response_bytes),
            is_test=_KINDS[kind],
            is_continuation=_PARTS[part],
            source=source,
            offset=int(offset),
        )
        is_canonical = form == FORMAT and write_leaf(event) == leaf
    except (ValueError, KeyError, OverflowError):
        is_canonical = False
    if not is_canonical:
        raise ValueError(f"not a leaf of {FORMAT}")
    return event
