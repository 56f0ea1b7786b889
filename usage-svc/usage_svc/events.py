"""Metered requests: what of an event is acceptable. Pure.

`problem_of` is the rule, for one event. A batch of many is checked by its columns (see reading), and this is
asked only about those that are not acceptable.
"""

import hashlib
import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from ams.usage.v1.events_pb2 import (
    ABANDONED,
    ANSWERED,
    BROKEN_OFF,
    CLIENT_CLOSED,
    CLIENT_ERROR,
    REFUSED,
    SERVED,
    UNCHARGED,
    UPSTREAM_FAILED,
    ChargeClass,
    Outcome,
    UsageEvent,
)
from ams_common import formats
from ams_rating import charging

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_AGE = timedelta(days=400)
MAX_AHEAD = timedelta(days=1)
# Usage that is counted later than this after its time isn't among what is looked at as recent.
LATE_AFTER = timedelta(minutes=10)
# A terabyte: beyond it a size is a mistake, and could make a sum overflow for all that come after.
MAX_SIZE_BYTES = 1 << 40
# A WebSocket that sends a million messages a second does so for twelve days.
MAX_MESSAGES = 1 << 40
MAX_REQUEST_ID = 128

_KEY_PREFIX = re.compile(r"[!-~]{1,32}")
_REQUEST_ID = re.compile(rf"[!-~]{{1,{MAX_REQUEST_ID}}}")
OUTCOMES = {
    ANSWERED: "answered",
    CLIENT_CLOSED: "client_closed",
    UPSTREAM_FAILED: "upstream_failed",
    BROKEN_OFF: "broken_off",
    REFUSED: "refused",
}
CHARGE_CLASSES = {
    charging.ChargeClass.SERVED: SERVED,
    charging.ChargeClass.CLIENT_ERROR: CLIENT_ERROR,
    charging.ChargeClass.ABANDONED: ABANDONED,
    charging.ChargeClass.UNCHARGED: UNCHARGED,
}


class Series(NamedTuple):
    """Whose calls, of which service, with which key: what events have in common."""

    series_id: int
    consumer_id: UUID
    merchant_id: UUID
    service_id: UUID
    api_key_id: UUID
    project_id: UUID | None
    # As the first event told it: a key has one.
    key_prefix: str


def charge_class_of(outcome: Outcome.ValueType, status_code: int) -> ChargeClass.ValueType:
    """What a call can be charged as. Raises KeyError for an unknown outcome."""
    return CHARGE_CLASSES[charging.charge_class(OUTCOMES[outcome], status_code)]


# Events name the same parties again and again, and making UUIDs of texts is the dearest step of a check.
@lru_cache(maxsize=100_000)
def series_of(
    consumer_id: str, merchant_id: str, service_id: str, api_key_id: str, project_id: str, key_prefix: str
) -> Series | None:
    """The series of an event; None when one of its fields is not acceptable."""
    needed = (consumer_id, merchant_id, service_id, api_key_id)
    if not all(map(is_id, needed)) or not (not project_id or is_id(project_id)):
        return None
    if not _KEY_PREFIX.fullmatch(key_prefix):
        return None
    # The same in every database, so that one that has been restored counts on where it was.
    digest = hashlib.blake2b("/".join((*needed, project_id)).encode("ascii"), digest_size=8).digest()
    return Series(
        series_id=int.from_bytes(digest, "big", signed=True),
        consumer_id=UUID(consumer_id),
        merchant_id=UUID(merchant_id),
        service_id=UUID(service_id),
        api_key_id=UUID(api_key_id),
        project_id=UUID(project_id) if project_id else None,
        key_prefix=key_prefix,
    )


@lru_cache(maxsize=100_000)
def is_id(text: str) -> bool:
    """Whether it is a UUID as we write them."""
    return formats.UUID.fullmatch(text) is not None


@lru_cache(maxsize=100_000)
def bytes_of_id(text: str) -> bytes:
    """The 16 bytes of a UUID as we write them; none for anything else."""
    return UUID(text).bytes if is_id(text) else b""


def is_request_id(text: str) -> bool:
    """Whether it may be a call's X-Request-Id."""
    return _REQUEST_ID.fullmatch(text) is not None


def problem_of(event: UsageEvent, now: datetime, archived_through: date | None = None) -> str | None:
    """Why the event can't be counted; None if it can. Raw events of days through `archived_through` are kept
    no longer."""
    if len(event.event_id) != 16:
        return "event_id must have 16 bytes"
    if event.outcome not in OUTCOMES:
        return f"outcome {event.outcome} is not one that this release knows"
    if not _KEY_PREFIX.fullmatch(event.key_prefix):
        return "key_prefix must have 1 to 32 printable ASCII characters"
    if event.response_time_ms < 0:
        return "response_time_ms must not be negative"
    if not 100 <= event.status_code <= 599:
        return "status_code is not one of HTTP"
    for name in ("consumer_id", "merchant_id", "service_id", "api_key_id", "price_version_id"):
        if not is_id(getattr(event, name)):
            return f"{name} must be a lower-case UUID"
    if event.project_id and not is_id(event.project_id):
        return "project_id must be a lower-case UUID"
    for name in ("request_payload_size_bytes", "response_payload_size_bytes"):
        if not 0 <= getattr(event, name) <= MAX_SIZE_BYTES:
            return f"{name} must be between 0 and a terabyte"
    for name in ("request_messages", "response_messages"):
        if not 0 <= getattr(event, name) <= MAX_MESSAGES:
            return f"{name} must be between 0 and 2^40"
    if event.request_id and not is_request_id(event.request_id):
        return "request_id must have at most 128 printable ASCII characters"
    return _problem_of_number(event) or _problem_of_time(event, now, archived_through)


def _problem_of_number(event: UsageEvent) -> str | None:
    if not event.journal_id and not event.sequence:
        return None
    if len(event.journal_id) != 16:
        return "journal_id must have 16 bytes"
    return None if event.sequence >= 1 else "sequence must be positive"


def _problem_of_time(event: UsageEvent, now: datetime, archived_through: date | None) -> str | None:
    time_us = event.timestamp.seconds * 1_000_000 + event.timestamp.nanos // 1000
    earliest_us, latest_us = time_bounds_us(now, archived_through)
    if earliest_us <= time_us <= latest_us:
        return None
    if us_since_1970(now - MAX_AGE) <= time_us < earliest_us:
        return "its day's events are in the archive: whether it was counted before can't be told"
    return "timestamp is more than a day ahead, or more than 400 days old"


def time_bounds_us(now: datetime, archived_through: date | None = None) -> tuple[int, int]:
    """Between which moments, in microseconds since 1970, a call that is told of `now` may have come in."""
    earliest_us = us_since_1970(now - MAX_AGE)
    if archived_through is not None:
        first_day = datetime.combine(archived_through + timedelta(days=1), time(), UTC)
        earliest_us = max(earliest_us, us_since_1970(first_day))
    return earliest_us, us_since_1970(now + MAX_AHEAD)


def us_since_1970(moment: datetime) -> int:
    """An aware moment in microseconds since 1970, cut rather than rounded."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
