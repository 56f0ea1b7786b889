"""One metered request: what of it is acceptable, and whether it is billed. Pure."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from ams.usage.v1.events_pb2 import ANSWERED, CLIENT_CLOSED, UPSTREAM_FAILED, Outcome, UsageEvent
from ams_common import formats

MAX_AGE = timedelta(days=400)
MAX_AHEAD = timedelta(days=1)
# A terabyte: beyond it a size is a mistake, and could make a sum overflow for all that come after.
MAX_SIZE_BYTES = 1 << 40

# A WebSocket that sends a million messages a second does so for twelve days.
MAX_MESSAGES = 1 << 40

_KEY_PREFIX = re.compile(r"[!-~]{1,32}")
_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_OUTCOMES = {ANSWERED: "answered", CLIENT_CLOSED: "client_closed", UPSTREAM_FAILED: "upstream_failed"}


class MalformedEventError(ValueError):
    """A usage event that can't be counted."""


class MeteredRequest(NamedTuple):
    """A usage event as it is stored: its fields are the columns of usage_events."""

    event_id: UUID
    occurred_at: datetime
    consumer_id: UUID
    api_key_id: UUID
    service_id: UUID
    merchant_id: UUID
    project_id: UUID | None
    price_version_id: UUID
    key_prefix: str
    request_bytes: int
    response_bytes: int
    response_time_ms: int
    status_code: int
    outcome: str
    billable: bool
    # None for what no gateway of today's has numbered.
    journal_id: UUID | None
    sequence: int | None
    is_continuation: bool
    request_messages: int
    response_messages: int
    # None: the event's own id.
    request_id: str | None
    is_test: bool


class NewUsage(NamedTuple):
    """What the events of a batch that were new add to one billing counter, in month `period`."""

    period: str
    merchant_id: UUID
    consumer_id: UUID
    service_id: UUID
    price_version_id: UUID
    requests: int
    billable_requests: int
    request_bytes: int
    response_bytes: int


def is_billable(outcome: Outcome.ValueType, *, is_test: bool = False, is_continuation: bool = False) -> bool:
    """Whether an event is a request that is charged: whatever the upstream served, or was doing for a
    consumer who left, but not what the upstream failed to answer, nor a call with a test key. What goes on
    of a request was charged with its first event."""
    return outcome in (ANSWERED, CLIENT_CLOSED) and not is_test and not is_continuation


def check_event(event: UsageEvent, now: datetime) -> MeteredRequest:
    """The event as it is stored. Raises MalformedEventError, which names the field."""
    if len(event.event_id) != 16:
        raise MalformedEventError("event_id must have 16 bytes")
    if event.outcome not in _OUTCOMES:
        raise MalformedEventError("outcome is not a known one")
    if not _KEY_PREFIX.fullmatch(event.key_prefix):
        raise MalformedEventError("key_prefix must have 1 to 32 printable ASCII characters")
    if event.response_time_ms < 0:
        raise MalformedEventError("response_time_ms must not be negative")
    if not 100 <= event.status_code <= 599:
        raise MalformedEventError("status_code is not one of HTTP")
    return MeteredRequest(
        event_id=UUID(bytes=event.event_id),
        occurred_at=_occurred_at(event, now),
        consumer_id=_id("consumer_id", event.consumer_id),
        api_key_id=_id("api_key_id", event.api_key_id),
        service_id=_id("service_id", event.service_id),
        merchant_id=_id("merchant_id", event.merchant_id),
        project_id=_id("project_id", event.project_id) if event.project_id else None,
        price_version_id=_id("price_version_id", event.price_version_id),
        key_prefix=event.key_prefix,
        request_bytes=_size("request_payload_size_bytes", event.request_payload_size_bytes),
        response_bytes=_size("response_payload_size_bytes", event.response_payload_size_bytes),
        response_time_ms=event.response_time_ms,
        status_code=event.status_code,
        outcome=_OUTCOMES[event.outcome],
        billable=is_billable(event.outcome, is_test=event.is_test, is_continuation=event.is_continuation),
        journal_id=_journal_id(event),
        sequence=event.sequence or None,
        is_continuation=event.is_continuation,
        request_messages=_messages("request_messages", event.request_messages),
        response_messages=_messages("response_messages", event.response_messages),
        request_id=_request_id(event),
        is_test=event.is_test,
    )


def _occurred_at(event: UsageEvent, now: datetime) -> datetime:
    seconds, nanos = event.timestamp.seconds, event.timestamp.nanos
    age_s = now.timestamp() - seconds
    if not -MAX_AHEAD.total_seconds() <= age_s <= MAX_AGE.total_seconds():
        raise MalformedEventError("timestamp is more than a day ahead, or more than 400 days old")
    if not 0 <= nanos < 1_000_000_000:
        raise MalformedEventError("timestamp has impossible nanoseconds")
    # Always rounded down: a duplicate must have the very same time, or it would be counted again.
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000)


def _id(name: str, text: str) -> UUID:
    try:
        return _uuid(text)
    except ValueError:
        raise MalformedEventError(f"{name} must be a lower-case UUID") from None


# Events name the same parties again and again, and making UUIDs of texts is the dearest step of a check.
@lru_cache(maxsize=100_000)
def _uuid(text: str) -> UUID:
    if not formats.UUID.fullmatch(text):
        raise ValueError(text)
    return UUID(text)


@lru_cache(maxsize=10_000)
def _uuid_of_bytes(data: bytes) -> UUID:
    return UUID(bytes=data)


def _journal_id(event: UsageEvent) -> UUID | None:
    if not event.journal_id and not event.sequence:
        return None
    if len(event.journal_id) != 16:
        raise MalformedEventError("journal_id must have 16 bytes")
    if event.sequence < 1:
        raise MalformedEventError("sequence must be positive")
    return _uuid_of_bytes(event.journal_id)


def _request_id(event: UsageEvent) -> str | None:
    if not event.request_id:
        return None
    if not _REQUEST_ID.fullmatch(event.request_id):
        raise MalformedEventError("request_id must have at most 128 printable ASCII characters")
    return event.request_id


def _messages(name: str, count: int) -> int:
    if not 0 <= count <= MAX_MESSAGES:
        raise MalformedEventError(f"{name} must be between 0 and 2^40")
    return count


def _size(name: str, size_bytes: int) -> int:
    if not 0 <= size_bytes <= MAX_SIZE_BYTES:
        raise MalformedEventError(f"{name} must be between 0 and a terabyte")
    return size_bytes
