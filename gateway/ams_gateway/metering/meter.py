"""Makes the UsageEvent of a forwarded request (ams/usage/v1/events.proto)."""

import secrets
import time
from functools import lru_cache

from ams.usage.v1 import events_pb2 as usage

from ams_gateway.access.snapshots import CachedKey, CachedService
from ams_gateway.metering.journal import Journal


class EventIds:
    """UUIDv7 as bytes, cheaply: milliseconds, then a counter around 40 bits that are random per process.

    Unique as long as no two processes draw the same 40 bits and count alike in one millisecond.
    """

    def __init__(self) -> None:
        self._fixed = (0x7 << 76) | (0x2 << 62) | (secrets.randbits(40) << 22)
        self._count = 0

    def new(self, now_ms: int) -> bytes:
        self._count = count = (self._count + 1) & 0x3_FFFF_FFFF
        number = now_ms << 80 | self._fixed | (count >> 22) << 64 | count & 0x3F_FFFF
        return number.to_bytes(16, "big")


def format_uuid(event_id: bytes) -> str:
    text = event_id.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Usage:
    """What is counted of one request, from its arrival to its event."""

    __slots__ = ("event_id", "request_bytes", "request_id", "response_bytes", "started_ns", "started_s")

    def __init__(self, ids: EventIds) -> None:
        self.started_ns = time.time_ns()
        self.started_s = time.perf_counter()
        self.event_id = ids.new(self.started_ns // 1_000_000)
        # The consumer's own; None: the event's id stands for it.
        self.request_id: bytes | None = None
        self.request_bytes = 0
        self.response_bytes = 0

    @property
    def id_text(self) -> bytes:
        return format_uuid(self.event_id).encode("ascii")


class Meter:
    """Writes events into the journal. The message is made once and filled anew for each: making one is
    ten times dearer."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._event = usage.UsageEvent()
        self._timestamp = self._event.timestamp

    def record(
        self,
        used: Usage,
        key: CachedKey,
        service: CachedService,
        status: int,
        outcome: usage.Outcome.ValueType,
    ) -> None:
        """Write the event of the request as it stands now. Raises JournalError."""
        # Every field is set, or it would keep the value of the event before.
        event = self._event
        event.event_id = used.event_id
        event.request_payload_size_bytes = used.request_bytes
        event.response_payload_size_bytes = used.response_bytes
        event.response_time_ms = int((time.perf_counter() - used.started_s) * 1000)
        event.status_code = status
        event.outcome = outcome
        self._timestamp.seconds, self._timestamp.nanos = divmod(used.started_ns, 1_000_000_000)
        # Serialised messages one after the other are one message: so says protobuf's encoding.
        self._journal.append(_parties(key, service) + event.SerializeToString())


@lru_cache(10_000)
def _parties(key: CachedKey, service: CachedService) -> bytes:
    """The part of the event that is the same for each of a key's calls to a service."""
    return usage.UsageEvent(
        consumer_id=key.consumer_id,
        api_key_id=key.key_id,
        service_id=service.service_id,
        merchant_id=service.merchant_id,
        project_id=key.project_id,
        price_version_id=service.price_version_id,
        key_prefix=key.key_prefix,
    ).SerializeToString()
