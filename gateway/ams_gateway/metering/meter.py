"""Makes the UsageEvents of forwarded requests (ams/usage/v1/events.proto) and writes them into the journal.

A call has one event. One that lasts has several: the first counts the call, the others are continuations that
add what came since. A call whose event could not be written is billed no further: its response is broken off.
"""

import secrets
import time
from functools import lru_cache
from typing import Protocol

from ams.usage.v1 import events_pb2 as usage

from ams_gateway.metering.encoding import (
    CONTINUATION,
    encode_event,
    encode_messages,
    encode_parties,
    encode_request_id,
)
from ams_gateway.metering.journal import Journal, JournalError


class EventIds:
    """UUIDv7 as bytes, cheaply: milliseconds, then a counter around 40 bits that are random per process.

    Unique as long as no two processes draw the same 40 bits and count alike in one millisecond.
    """

    def __init__(self) -> None:
        self._fixed = (0x7 << 76) | (0x2 << 62) | (secrets.randbits(40) << 22)
        self._count = 0
        self._now_ms = -1
        # All but the last three bytes, which is the same for all ids of a millisecond; and as text.
        self._beginning = b""
        self._text_beginning = b""
        self._last_bytes = self._fixed & 0xC0_0000

    def new(self, now_ms: int) -> tuple[bytes, bytes]:
        """The id, and as it is written: 01a2265f-4bf6-7000-81bc-9df971400001."""
        self._count = count = (self._count + 1) & 0x3_FFFF_FFFF
        if now_ms != self._now_ms or not count & 0x3F_FFFF:
            self._begin(now_ms, count >> 22)
        last = self._last_bytes | count & 0x3F_FFFF
        return self._beginning + last.to_bytes(3, "big"), b"%b%06x" % (self._text_beginning, last)

    def _begin(self, now_ms: int, high: int) -> None:
        self._now_ms = now_ms
        number = now_ms << 80 | self._fixed | high << 64
        self._beginning = number.to_bytes(16, "big")[:13]
        text = self._beginning.hex()
        parts = text[:8], text[8:12], text[12:16], text[16:20], text[20:]
        self._text_beginning = "-".join(parts).encode("ascii")


class MeteredKey(Protocol):
    """Who calls. Looked up by identity: one that has changed is another object."""

    @property
    def key_id(self) -> str: ...
    @property
    def consumer_id(self) -> str: ...
    @property
    def project_id(self) -> str: ...
    @property
    def key_prefix(self) -> str: ...
    @property
    def is_test(self) -> bool: ...
    def __hash__(self) -> int: ...


class MeteredService(Protocol):
    """What is called. Looked up by identity, as a key is."""

    @property
    def service_id(self) -> str: ...
    @property
    def merchant_id(self) -> str: ...
    @property
    def price_version_id(self) -> str: ...
    @property
    def traces_request_size(self) -> bool: ...
    @property
    def traces_response_size(self) -> bool: ...
    def __hash__(self) -> int: ...


class Usage:
    """What is counted of one request, from its arrival to its event."""

    # What X-Request-Id says, printable ASCII; None: the event's id.
    request_id: bytes | None = None
    request_bytes = response_bytes = 0
    # Of a WebSocket.
    request_messages = response_messages = 0
    # What of it stands in events already, of a call that lasts. None: there is none yet.
    recorded: "_Recorded | None" = None
    # An event could not be written: what comes later must not be billed either.
    is_lost = False
    # What spend caps were charged for it since it was forwarded.
    charged_nanos = 0

    def __init__(self, ids: EventIds) -> None:
        self.started_ns = started_ns = time.time_ns()
        self.started_s = time.perf_counter()
        # `id_text` is what X-Request-Id says where the consumer has none of its own.
        self.event_id, self.id_text = ids.new(started_ns // 1_000_000)


# Request bytes, response bytes, request messages, response messages.
_Recorded = tuple[int, int, int, int]


class Meter:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._forwarded = journal.forwarded
        # Of events after a call's first, which has the id that its Usage drew.
        self._ids = EventIds()
        self._parties = lru_cache(10_000)(self._encode_parties)

    def record(
        self,
        used: Usage,
        key: MeteredKey,
        service: MeteredService,
        status: int,
        outcome: usage.Outcome.ValueType,
    ) -> None:
        """Write the last event of the request, most often its only one. Raises JournalError."""
        if used.recorded is not None or used.is_lost:
            self._continue(used, key, service, status, outcome)
            return
        journal, parties = self._journal, self._parties(key, service)
        event = encode_event(
            parties,
            used.event_id,
            used.started_ns,
            used.request_bytes if service.traces_request_size else 0,
            used.response_bytes if service.traces_response_size else 0,
            int((time.perf_counter() - used.started_s) * 1000),
            status,
            outcome,
            journal.appended + 1,
        )
        if used.request_id is not None:
            event += encode_request_id(used.request_id)
        if used.request_messages or used.response_messages:
            event += encode_messages(used.request_messages, used.response_messages)
        try:
            journal.append(key.consumer_id, event)
        except JournalError:
            used.is_lost = True
            raise
        self._forwarded.count(parties, used.started_ns)

    def record_part(self, used: Usage, key: MeteredKey, service: MeteredService, status: int) -> None:
        """Write what came since the last event of a call that goes on: its upstream has answered, so it
        counts as answered however it ends. Raises JournalError: then the response must be broken off."""
        if used.recorded is not None or used.is_lost:
            self._continue(used, key, service, status, usage.ANSWERED)
            return
        if used.request_id is None:
            # Continuations have ids of their own: this is how they are found with the first.
            used.request_id = used.id_text
        self.record(used, key, service, status, usage.ANSWERED)
        used.recorded = _so_far(used, service)

    def _continue(
        self,
        used: Usage,
        key: MeteredKey,
        service: MeteredService,
        status: int,
        outcome: usage.Outcome.ValueType,
    ) -> None:
        before, now = used.recorded, _so_far(used, service)
        # Nothing came since, or nothing may be billed any more.
        if before is None or before == now or used.is_lost:
            return
        request_bytes, response_bytes, request_messages, response_messages = (
            after - earlier for after, earlier in zip(now, before, strict=True)
        )
        # Its own time, not the call's: bytes belong to the hour, and the month, that they flowed in.
        now_ns, parties = time.time_ns(), self._parties(key, service)
        event = encode_event(
            parties,
            self._ids.new(now_ns // 1_000_000)[0],
            now_ns,
            request_bytes,
            response_bytes,
            int((time.perf_counter() - used.started_s) * 1000),
            status,
            outcome,
            self._journal.appended + 1,
        )
        event += CONTINUATION + encode_request_id(used.request_id or b"")
        if request_messages or response_messages:
            event += encode_messages(request_messages, response_messages)
        try:
            self._journal.append(key.consumer_id, event)
        except JournalError:
            used.is_lost = True
            raise
        self._forwarded.count(parties, now_ns)
        used.recorded = now

    def _encode_parties(self, key: MeteredKey, service: MeteredService) -> bytes:
        return encode_parties(
            consumer_id=key.consumer_id,
            api_key_id=key.key_id,
            service_id=service.service_id,
            merchant_id=service.merchant_id,
            project_id=key.project_id,
            price_version_id=service.price_version_id,
            key_prefix=key.key_prefix,
            journal_id=self._journal.journal_id,
            is_test=key.is_test,
        )


def _so_far(used: Usage, service: MeteredService) -> _Recorded:
    """What events say of it: a size that the service doesn't trace stays 0."""
    return (
        used.request_bytes if service.traces_request_size else 0,
        used.response_bytes if service.traces_response_size else 0,
        used.request_messages,
        used.response_messages,
    )
