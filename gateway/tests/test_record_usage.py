"""A call's events: one for most, several for one that lasts, and none that was not safely written."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from ams.usage.v1 import events_pb2 as usage
from ams_gateway.metering.journal import Journal, JournalError, JournalLimits
from ams_gateway.metering.meter import EventIds, Meter, Usage
from hypothesis import given
from hypothesis import strategies as st


@dataclass(frozen=True, eq=False)
class Key:
    key_id: str = "key"
    consumer_id: str = "consumer"
    project_id: str = "project"
    key_prefix: str = "ams_live_abcdefgh"
    is_test: bool = False


@dataclass(frozen=True, eq=False)
class Service:
    service_id: str = "service"
    merchant_id: str = "merchant"
    price_version_id: str = "price"
    traces_request_size: bool = True
    traces_response_size: bool = True


KEY, SERVICE = Key(), Service()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path, JournalLimits())
    yield journal
    journal.close()


@pytest.fixture
def meter(journal: Journal) -> Meter:
    return Meter(journal)


def events_of(journal: Journal) -> list[usage.UsageEvent]:
    """What was written since this was asked before."""
    groups, _, position = journal.take(1_000_000)
    journal.acknowledge(position)
    return [usage.UsageEvent.FromString(event) for group in groups.values() for event in group]


def used(**counts: int) -> Usage:
    usage_ = Usage(EventIds())
    for name, count in counts.items():
        setattr(usage_, name, count)
    return usage_


def test_an_event_says_who_called_what_and_how_it_ended(meter: Meter, journal: Journal) -> None:
    call = used(request_bytes=512, response_bytes=70_000)
    meter.record(call, KEY, SERVICE, 404, usage.ANSWERED)
    (event,) = events_of(journal)
    assert 0 <= event.response_time_ms < 60_000
    event.response_time_ms = 0
    assert event.timestamp.ToNanoseconds() == call.started_ns
    event.ClearField("timestamp")
    assert event == usage.UsageEvent(
        event_id=call.event_id,
        consumer_id="consumer",
        api_key_id="key",
        service_id="service",
        merchant_id="merchant",
        project_id="project",
        price_version_id="price",
        key_prefix="ams_live_abcdefgh",
        request_payload_size_bytes=512,
        response_payload_size_bytes=70_000,
        status_code=404,
        outcome=usage.ANSWERED,
        journal_id=journal.journal_id,
        sequence=1,
    )


def test_numbers_have_no_gap_whoever_calls_what(meter: Meter, journal: Journal) -> None:
    for key in (KEY, Key(consumer_id="another"), Key(is_test=True)):
        for service in (SERVICE, Service(service_id="another")):
            meter.record(used(), key, service, 200, usage.ANSWERED)
    assert sorted(event.sequence for event in events_of(journal)) == [1, 2, 3, 4, 5, 6]


def test_two_journals_are_told_apart(tmp_path: Path) -> None:
    first, second = (Journal(tmp_path, JournalLimits()) for _ in range(2))
    assert first.journal_id != second.journal_id
    assert first.directory is not None
    assert first.directory.name == f"journal-{first.journal_id.hex()}"
    first.close()
    second.close()


def test_a_request_id_of_the_consumers_own_is_in_the_event(meter: Meter, journal: Journal) -> None:
    call = used()
    call.request_id = b"my-request-7"
    meter.record(call, KEY, SERVICE, 200, usage.ANSWERED)
    meter.record(used(), KEY, SERVICE, 200, usage.ANSWERED)
    assert [event.request_id for event in events_of(journal)] == ["my-request-7", ""]


def test_a_test_keys_calls_say_so(meter: Meter, journal: Journal) -> None:
    meter.record(used(), Key(is_test=True), SERVICE, 200, usage.ANSWERED)
    assert [event.is_test for event in events_of(journal)] == [True]


def test_a_websockets_messages_are_counted(meter: Meter, journal: Journal) -> None:
    meter.record(used(request_messages=3, response_messages=400), KEY, SERVICE, 101, usage.ANSWERED)
    (event,) = events_of(journal)
    assert (event.request_messages, event.response_messages) == (3, 400)


@given(
    st.lists(st.tuples(*[st.integers(0, 1 << 40)] * 4), min_size=1, max_size=6),
    st.booleans(),
)
def test_the_parts_of_a_long_call_count_it_once_and_add_up(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, int, int]], is_followed_by_end: bool
) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal"), JournalLimits())
    meter, call = Meter(journal), used()
    names = ("request_bytes", "response_bytes", "request_messages", "response_messages")
    for step in steps:
        for name, more in zip(names, step, strict=True):
            setattr(call, name, getattr(call, name) + more)
        meter.record_part(call, KEY, SERVICE, 200)
    if is_followed_by_end:
        call.response_bytes += 7
        meter.record(call, KEY, SERVICE, 200, usage.ANSWERED)
    events = events_of(journal)
    assert sum(not event.is_continuation for event in events) == 1
    assert not events[0].is_continuation
    assert len({event.event_id for event in events}) == len(events)
    assert {event.request_id for event in events} == {call.id_text.decode()}
    for name, field in (
        ("request_bytes", "request_payload_size_bytes"),
        ("response_bytes", "response_payload_size_bytes"),
        ("request_messages", "request_messages"),
        ("response_messages", "response_messages"),
    ):
        assert sum(getattr(event, field) for event in events) == getattr(call, name)
    journal.close()


def test_a_part_in_which_nothing_came_has_no_event(meter: Meter, journal: Journal) -> None:
    call = used(response_bytes=10)
    for _ in range(3):
        meter.record_part(call, KEY, SERVICE, 200)
    meter.record(call, KEY, SERVICE, 200, usage.ANSWERED)
    assert len(events_of(journal)) == 1


@pytest.mark.parametrize("is_long", [False, True])
def test_a_call_whose_event_was_lost_is_billed_no_further(
    meter: Meter, journal: Journal, monkeypatch: pytest.MonkeyPatch, is_long: bool
) -> None:
    """Its response is broken off; whoever ends it may well record it once more."""
    call = used(response_bytes=10)
    if is_long:
        meter.record_part(call, KEY, SERVICE, 200)
        call.response_bytes += 10

    def refuse(consumer_id: str, event: bytes) -> None:
        raise JournalError

    with monkeypatch.context() as patch:
        patch.setattr(journal, "append", refuse)
        with pytest.raises(JournalError):
            meter.record(call, KEY, SERVICE, 200, usage.ANSWERED)
    meter.record(call, KEY, SERVICE, 200, usage.ANSWERED)
    meter.record_part(call, KEY, SERVICE, 200)
    assert [event.response_payload_size_bytes for event in events_of(journal)] == ([10] if is_long else [])


def test_recording_keeps_no_memory(meter: Meter, journal: Journal) -> None:
    """Every message of protobuf that is filled anew keeps 16 bytes of each id that it ever held."""
    ids = EventIds()

    def record(count: int) -> int:
        for _ in range(count):
            meter.record(Usage(ids), KEY, SERVICE, 200, usage.ANSWERED)
        events, _, position = journal.take(1_000_000)
        journal.acknowledge(position)
        del events
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = record(2_000)
        after = [record(2_000) for _ in range(5)][-1]
    finally:
        tracemalloc.stop()
    assert after - before < 10_000


def test_every_event_id_is_its_own() -> None:
    ids = EventIds(), EventIds()
    made = [source.new(1_700_000_000_000 + number // 20_000) for source in ids for number in range(50_000)]
    assert len(set(made)) == 100_000
    for event_id, text in made[::1000]:
        assert text == str(UUID(bytes=event_id)).encode()
        assert UUID(bytes=event_id).version == 7


def test_an_event_id_counts_on_where_its_low_digits_end() -> None:
    ids = EventIds()
    ids._count = 0x3F_FFFE
    made = [ids.new(1_700_000_000_000) for _ in range(4)]
    assert [text for _, text in made] == sorted({text for _, text in made})
    assert all(text == str(UUID(bytes=event_id)).encode() for event_id, text in made)


@pytest.mark.parametrize("traces_request", [True, False])
@pytest.mark.parametrize("traces_response", [True, False])
def test_a_size_that_is_not_traced_stands_in_no_event_of_a_call_however_long(
    meter: Meter, journal: Journal, traces_request: bool, traces_response: bool
) -> None:
    service = Service(traces_request_size=traces_request, traces_response_size=traces_response)
    meter.record(used(request_bytes=5, response_bytes=7), KEY, service, 200, usage.ANSWERED)
    lasting = used(request_bytes=5, response_bytes=7)
    meter.record_part(lasting, KEY, service, 200)
    lasting.response_bytes += 11
    meter.record_part(lasting, KEY, service, 200)
    lasting.request_bytes += 13
    meter.record(lasting, KEY, service, 200, usage.ANSWERED)
    events = events_of(journal)
    requests = sum(not event.is_continuation for event in events)
    request_bytes = sum(event.request_payload_size_bytes for event in events)
    response_bytes = sum(event.response_payload_size_bytes for event in events)
    assert (requests, request_bytes, response_bytes) == (2, 23 * traces_request, 25 * traces_response)
    # Nothing came of what is kept: no event either.
    assert len(events) == 2 + traces_request + traces_response
