"""UsageEvents as protobuf bytes, written by hand (ams/usage/v1/events.proto; protobuf's wire format).

One message that is filled anew for each event never gives back the bytes values it has held, and a new one
for each is ten times dearer. The tests hold these bytes against the generated code's reading of them.
"""

from ams.usage.v1 import events_pb2 as usage

_SEVEN_BITS = 0x7F
_FOURTEEN_BITS = 0x3FFF
_MAX_INT32 = 0x7FFF_FFFF


def _small_varint(number: int) -> bytes:
    if number <= _SEVEN_BITS:
        return bytes((number,))
    return bytes((number & _SEVEN_BITS | 0x80, number >> 7))


# Most sizes, times and lengths are in here; larger numbers are put together of these.
_VARINTS = tuple(_small_varint(number) for number in range(_FOURTEEN_BITS + 1))
# Fourteen bits that more follow: both bytes have the continuation bit.
_PAIRS = tuple(
    bytes((number & _SEVEN_BITS | 0x80, number >> 7 | 0x80)) for number in range(_FOURTEEN_BITS + 1)
)


def varint(number: int) -> bytes:
    """A number from 0 to 2^63 - 1, in as few bytes as it takes."""
    if number <= _FOURTEEN_BITS:
        return _VARINTS[number]
    rest = number >> 14
    if rest <= _FOURTEEN_BITS:
        return _PAIRS[number & _FOURTEEN_BITS] + _VARINTS[rest]
    if (high := rest >> 14) <= _FOURTEEN_BITS:
        # Seconds and nanoseconds, of each event.
        return _PAIRS[number & _FOURTEEN_BITS] + _PAIRS[rest & _FOURTEEN_BITS] + _VARINTS[high]
    return _PAIRS[number & _FOURTEEN_BITS] + varint(rest)


def encode_parties(
    *,
    consumer_id: str,
    api_key_id: str,
    service_id: str,
    merchant_id: str,
    project_id: str,
    price_version_id: str,
    key_prefix: str,
    journal_id: bytes,
    is_test: bool,
) -> bytes:
    """What is the same for each of a key's calls to a service: the beginning of their events.

    Messages written one after the other are one message, so says the wire format; and the generated code
    writes fields by number, so that `consumer_of` finds the consumer in front.
    """
    return usage.UsageEvent(
        consumer_id=consumer_id,
        api_key_id=api_key_id,
        service_id=service_id,
        merchant_id=merchant_id,
        project_id=project_id,
        price_version_id=price_version_id,
        key_prefix=key_prefix,
        journal_id=journal_id,
        is_test=is_test,
    ).SerializeToString()


def encode_event(
    parties: bytes,
    event_id: bytes,
    started_ns: int,
    request_bytes: int,
    response_bytes: int,
    response_time_ms: int,
    status: int,
    outcome: int,
    sequence: int,
) -> bytes:
    """The event of a plain call. `started_ns` is in Unix time."""
    seconds, nanos = divmod(started_ns, 1_000_000_000)
    at_seconds, at_nanos = varint(seconds), varint(nanos)
    if response_time_ms > _MAX_INT32:
        # The field has 32 bits: a longer time would be read as a negative one, and refused.
        response_time_ms = _MAX_INT32
    # All of it in one formatting, and calls only for what is large: pieces and calls are what costs here.
    return b"%b\x0a\x10%b\x12%b\x08%b\x10%b\x50%b\x58%b\x60%b\x68%b\x70%b\x80\x01%b" % (
        parties,
        event_id,
        _VARINTS[2 + len(at_seconds) + len(at_nanos)],
        at_seconds,
        at_nanos,
        _VARINTS[request_bytes] if request_bytes <= _FOURTEEN_BITS else varint(request_bytes),
        _VARINTS[response_bytes] if response_bytes <= _FOURTEEN_BITS else varint(response_bytes),
        _VARINTS[response_time_ms] if response_time_ms <= _FOURTEEN_BITS else varint(response_time_ms),
        _VARINTS[status],
        _VARINTS[outcome],
        varint(sequence),
    )


def encode_request_id(request_id: bytes) -> bytes:
    """What is added to an event whose X-Request-Id isn't its id. ASCII: readers refuse other texts."""
    return b"\xa2\x01%b%b" % (varint(len(request_id)), request_id)


def encode_messages(request_messages: int, response_messages: int) -> bytes:
    """What is added to the event of a WebSocket call."""
    return b"\x90\x01%b\x98\x01%b" % (varint(request_messages), varint(response_messages))


# What is added to the event of a call that an event before has counted.
CONTINUATION = b"\x88\x01\x01"


def frame_event(event: bytes) -> bytes:
    """What stands before an event in a UsageEventBatch: field 101, and how long the event is."""
    return b"\xaa\x06" + varint(len(event))


def consumer_of(event: bytes) -> str:
    """Whose an event is, without reading all of it when that stands in front; "" when it can't be read."""
    if event[:1] == b"\x1a" and len(event) > 1 and (end := 2 + event[1]) <= min(len(event), 129):
        try:
            return event[2:end].decode("ascii")
        except UnicodeDecodeError:
            return ""
    try:
        return usage.UsageEvent.FromString(event).consumer_id
    except Exception:
        # Whatever wrote it: it must not keep the events behind it back.
        return ""
