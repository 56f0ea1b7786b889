from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from uuid import UUID

import pytest
from ams_rating.charging import ChargeClass
from ams_rating.events import UsageEvent, read_leaf, write_leaf
from hypothesis import given
from hypothesis import strategies as st

EVENT = UsageEvent(
    event_id=UUID("019345aa-0000-7000-8000-000000000001"),
    occurred_at=datetime(2026, 11, 3, 9, 15, 2, 250, UTC),
    merchant_id=UUID("019345aa-0000-7000-8000-00000000000a"),
    consumer="cst_abcdefgh23456777",
    api_key="key_abcdefgh23456777",
    service_id=UUID("019345aa-0000-7000-8000-00000000000b"),
    outcome="answered",
    status_code=200,
    request_bytes=512,
    response_bytes=20_480,
    is_test=False,
    is_continuation=False,
    source="b3JkZXI/3",
    offset=4711,
)
LEAF = (
    b"ams-usage-event/1|019345aa-0000-7000-8000-000000000001|2026-11-03T09:15:02.000250Z"
    b"|019345aa-0000-7000-8000-00000000000a|cst_abcdefgh23456777|key_abcdefgh23456777"
    b"|019345aa-0000-7000-8000-00000000000b|answered|200|512|20480|live|call|b3JkZXI/3|4711"
)

texts = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="|"), min_size=1, max_size=20
)
sizes = st.integers(0, 2**63 - 1)
zones = st.integers(-840, 840).map(lambda minutes: timezone(timedelta(minutes=minutes)))
events = st.builds(
    UsageEvent,
    event_id=st.uuids(),
    occurred_at=st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=zones),  # noqa: DTZ001
    merchant_id=st.uuids(),
    consumer=texts,
    api_key=texts,
    service_id=st.uuids(),
    outcome=st.sampled_from(["answered", "client_closed", "upstream_failed", "broken_off", "refused"]),
    status_code=st.integers(0, 999),
    request_bytes=sizes,
    response_bytes=sizes,
    is_test=st.booleans(),
    is_continuation=st.booleans(),
    source=texts,
    offset=sizes,
)


def test_the_bytes_of_a_leaf_never_change() -> None:
    """Roots that were published stand for them."""
    assert write_leaf(EVENT) == LEAF
    assert read_leaf(LEAF) == EVENT


@given(events)
def test_an_event_reads_back_the_same(event: UsageEvent) -> None:
    assert read_leaf(write_leaf(event)) == event


@given(events, events)
def test_only_equal_events_have_equal_leaves(one: UsageEvent, other: UsageEvent) -> None:
    assert (write_leaf(one) == write_leaf(other)) == (one == other)


def test_a_day_is_the_utc_day_wherever_the_clock_stands() -> None:
    zone = timezone(timedelta(hours=5))
    event = replace(EVENT, occurred_at=datetime(2026, 12, 1, 4, 59, 59, tzinfo=zone))
    assert event.day == date(2026, 11, 30)
    assert b"|2026-11-30T23:59:59.000000Z|" in write_leaf(event)


def test_an_event_says_what_it_is_charged_as() -> None:
    assert replace(EVENT, status_code=404).charge_class is ChargeClass.CLIENT_ERROR


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "lost"},
        {"consumer": ""},
        {"source": "a|b"},
        {"source": "a b"},
        {"api_key": "schlüssel"},
        {"offset": -1},
        {"offset": 2**63},
        {"response_bytes": -1},
        {"occurred_at": datetime(2026, 11, 3)},  # noqa: DTZ001
    ],
)
def test_what_would_not_read_back_is_not_written(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        write_leaf(replace(EVENT, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        (b"ams-usage-event/1", b"ams-usage-event/2"),
        (b"019345aa-0000-7000-8000-000000000001", b"019345AA-0000-7000-8000-000000000001"),
        (b"019345aa-0000-7000-8000-000000000001", b"{019345aa000070008000000000000001}"),
        (b"02.000250Z", b"02.00025Z"),
        (b"02.000250Z", b"02.000250+00:00"),
        (b"|200|", b"|0200|"),
        (b"|200|", b"|+200|"),
        (b"|512|", b"|5_12|"),
        (b"|512|", b"| 512|"),
        (b"|512|", b"|-512|"),
        (b"|live|", b"|Live|"),
        (b"|call|", b"||"),
        (b"|4711", b"|4711\n"),
        (b"|4711", b"|4711|"),
        (b"|4711", b""),
        (b"answered", "ånswered".encode()),
    ],
)
def test_no_event_has_a_second_leaf(part: bytes, instead: bytes) -> None:
    assert part in LEAF
    with pytest.raises(ValueError, match="not a leaf"):
        read_leaf(LEAF.replace(part, instead))


@given(st.binary(max_size=300))
def test_other_bytes_are_no_leaf(leaf: bytes) -> None:
    with pytest.raises(ValueError, match="not a leaf"):
        read_leaf(leaf)
