"""Time: UTC always, and its protobuf form."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

# What tells the time: utc_now, or something that a test moves.
Clock: TypeAlias = Callable[[], datetime]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """The present moment as an aware datetime in UTC."""
    return datetime.now(UTC)


def to_timestamp(moment: datetime | None) -> Timestamp | None:
    """An aware datetime as a protobuf Timestamp; None stays unset."""
    if moment is None:
        return None
    # As FromDatetime() does it, in a quarter of the time: answers hold thousands.
    since = moment - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def from_timestamp(timestamp: Timestamp) -> datetime:
    """A protobuf Timestamp as an aware datetime in UTC."""
    return timestamp.ToDatetime(tzinfo=UTC)
