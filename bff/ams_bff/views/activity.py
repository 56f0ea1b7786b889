"""What has happened lately, as overviews show it."""

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened. `kind`: the colour that it has by its meaning."""

    title: str
    text: str
    at: Timestamp
    kind: str
    href: str = ""


def newest(events: Iterable[Event]) -> list[Event]:
    """As many as an overview shows, the newest first."""
    return sorted(events, key=lambda event: (event.at.seconds, event.at.nanos), reverse=True)[:_SHOWN]
