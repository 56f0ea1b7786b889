"""Time: UTC always, and its protobuf form."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

# What tells the time: utc_now, or something that a test moves.
Clock: TypeAlias = Callable[[], datetime]


def utc_now() -> datetime:
    """The present moment as an aware datetime in UTC."""
    return datetime.now(UTC)


def to_timestamp(moment: datetime | None) -> Timestamp | None:
    """An aware datetime as a protobuf Timestamp; None stays unset."""
    if moment is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def from_timestamp(timestamp: Timestamp) -> datetime:
    """A protobuf Timestamp as an aware datetime in UTC."""
    return timestamp.ToDatetime(tzinfo=UTC)
