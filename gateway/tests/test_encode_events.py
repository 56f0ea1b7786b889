"""Events written by hand are what the generated code reads."""

from typing import Any

from ams.usage.v1 import events_pb2 as usage
from ams_gateway.metering.delivery import record_values
from ams_gateway.metering.encoding import (
    CONTINUATION,
    consumer_of,
    encode_event,
    encode_messages,
    encode_parties,
    encode_request_id,
    varint,
)
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

NUMBERS = st.integers(0, 2**63 - 1) | st.integers(0, 2**15) | st.sampled_from([127, 128, 2**14 - 1, 2**14])
TEXTS = st.text(st.characters(codec="ascii"), max_size=200)

PARTIES = st.fixed_dictionaries(
    {
        "consumer_id": TEXTS,
        "api_key_id": TEXTS,
        "service_id": TEXTS,
        "merchant_id": TEXTS,
        "project_id": TEXTS,
        "price_version_id": TEXTS,
        "key_prefix": TEXTS,
        "journal_id": st.binary(min_size=16, max_size=16),
        "is_test": st.booleans(),
    }
)


@given(NUMBERS)
def test_a_number_takes_the_bytes_that_the_generated_code_gives_it(number: int) -> None:
    assert usage.UsageEvent(sequence=number).SerializeToString() == (
        b"\x80\x01" + varint(number) if number else b""
    )


@given(
    PARTIES,
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**34 * 10**9),
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.integers(100, 599),
    st.sampled_from([usage.ANSWERED, usage.CLIENT_CLOSED, usage.UPSTREAM_FAILED]),
    NUMBERS,
)
def test_every_field_of_an_event_is_read_as_it_was_written(
    parties: dict[str, Any],
    event_id: bytes,
    started_ns: int,
    request_bytes: int,
    response_bytes: int,
    response_time_ms: int,
    status: int,
    outcome: usage.Outcome.ValueType,
    sequence: int,
) -> None:
    event = encode_event(
        encode_parties(**parties),
        event_id,
        started_ns,
        request_bytes,
        response_bytes,
        response_time_ms,
        status,
        outcome,
        sequence,
    )
    assert usage.UsageEvent.FromString(event) == usage.UsageEvent(
        event_id=event_id,
        timestamp=Timestamp(seconds=started_ns // 10**9, nanos=started_ns % 10**9),
        request_payload_size_bytes=request_bytes,
        response_payload_size_bytes=response_bytes,
        response_time_ms=min(response_time_ms, 2**31 - 1),
        status_code=status,
        outcome=outcome,
        sequence=sequence,
        **parties,
    )
    assert consumer_of(event) == parties["consumer_id"]


@given(NUMBERS, NUMBERS, TEXTS)
def test_what_is_added_to_an_event_is_read_with_it(sent: int, received: int, request_id: str) -> None:
    event = usage.UsageEvent(consumer_id="somebody").SerializeToString()
    event += CONTINUATION + encode_request_id(request_id.encode()) + encode_messages(sent, received)
    assert usage.UsageEvent.FromString(event) == usage.UsageEvent(
        consumer_id="somebody",
        is_continuation=True,
        request_id=request_id,
        request_messages=sent,
        response_messages=received,
    )


@given(st.lists(st.integers(0, 70_000), max_size=12))
def test_a_consumers_events_become_bounded_batches_in_order(sizes: list[int]) -> None:
    events = [
        usage.UsageEvent(consumer_id="c", sequence=number, request_id="x" * size)
        for number, size in enumerate(sizes, 1)
    ]
    values = list(record_values("c", [event.SerializeToString() for event in events]))
    assert [event for value in values for event in usage.UsageEventBatch.FromString(value).events] == events
    for value in values:
        assert len(value) <= 33_000 or len(usage.UsageEventBatch.FromString(value).events) == 1


def test_a_batch_holds_at_most_500_events() -> None:
    values = record_values("c", [usage.UsageEvent(consumer_id="c").SerializeToString()] * 1201)
    assert [len(usage.UsageEventBatch.FromString(value).events) for value in values] == [500, 500, 201]


@given(st.binary(max_size=60))
def test_no_bytes_are_a_fault_to_who_looks_for_the_consumer(data: bytes) -> None:
    assert isinstance(consumer_of(data), str)


def test_an_event_of_an_older_release_has_its_consumer_found_wherever_it_stands() -> None:
    old = usage.UsageEvent(event_id=bytes(16), consumer_id="somebody").SerializeToString()
    assert consumer_of(old) == "somebody"


def test_what_is_no_event_goes_alone_and_unchanged() -> None:
    assert list(record_values("", [b"\xff", b"\xfe"])) == [b"\xff", b"\xfe"]
