"""Which events are acceptable: by the rule for one, and by the columns of a batch, which must agree."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ams.usage.v1.events_pb2 import (
    ABANDONED,
    ANSWERED,
    BROKEN_OFF,
    CLIENT_CLOSED,
    CLIENT_ERROR,
    OUTCOME_UNSPECIFIED,
    REFUSED,
    SERVED,
    UNCHARGED,
    UPSTREAM_FAILED,
    Outcome,
    UsageEvent,
    UsageEventBatch,
)
from ams_common.subscriptions import Batch, Record
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given
from hypothesis import strategies as st
from usage_svc.events import charge_class_of, problem_of
from usage_svc.reading import read_batch

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
DAY_S = 24 * 3600
ID = "019ab000-0000-7000-8000-00000000000"
# No member of the enum: a newer gateway's.
UNKNOWN_OUTCOME: Any = 9


def an_event(**changes: Any) -> UsageEvent:
    fields: dict[str, Any] = {
        "event_id": bytes(range(16)),
        "timestamp": Timestamp(seconds=NOW_S, nanos=123_456_789),
        "consumer_id": ID + "1",
        "api_key_id": ID + "2",
        "service_id": ID + "3",
        "merchant_id": ID + "4",
        "project_id": ID + "5",
        "price_version_id": ID + "6",
        "key_prefix": "ams_live_abcdefgh",
        "request_payload_size_bytes": 1,
        "response_payload_size_bytes": 2,
        "response_time_ms": 3,
        "status_code": 204,
        "outcome": ANSWERED,
        "journal_id": b"j" * 16,
        "sequence": 7,
        "request_messages": 4,
        "response_messages": 5,
        "request_id": "my-request",
    }
    return UsageEvent(**(fields | changes))


BAD = [
    {"event_id": b""},
    {"event_id": bytes(17)},
    {"outcome": OUTCOME_UNSPECIFIED},
    {"outcome": UNKNOWN_OUTCOME},
    {"key_prefix": ""},
    {"key_prefix": "with space"},
    {"key_prefix": "a" * 33},
    {"response_time_ms": -1},
    {"status_code": 99},
    {"status_code": 600},
    {"status_code": -1},
    {"consumer_id": ""},
    {"merchant_id": ID},
    {"service_id": ID.upper() + "3"},
    {"api_key_id": "no id"},
    {"project_id": "no id"},
    {"price_version_id": ""},
    {"request_payload_size_bytes": -1},
    {"response_payload_size_bytes": (1 << 40) + 1},
    {"request_messages": (1 << 40) + 1},
    {"response_messages": -1},
    {"request_id": "with space"},
    {"request_id": "a" * 129},
    {"request_id": "ä"},
    {"journal_id": b"short"},
    {"journal_id": b""},
    {"sequence": 0},
    {"sequence": -1},
    {"timestamp": None},
    {"timestamp": Timestamp(seconds=NOW_S + DAY_S + 1)},
    {"timestamp": Timestamp(seconds=NOW_S - 400 * DAY_S - 1)},
    {"timestamp": Timestamp(seconds=253_402_300_799)},
]
GOOD: list[dict[str, Any]] = [
    {},
    {"project_id": ""},
    {"request_id": ""},
    {"request_id": "~" * 128},
    {"journal_id": b"", "sequence": 0},
    {"status_code": 100},
    {"status_code": 599},
    {"response_time_ms": 2**31 - 1},
    {"request_payload_size_bytes": 1 << 40},
    {"timestamp": Timestamp(seconds=NOW_S + DAY_S)},
    {"timestamp": Timestamp(seconds=NOW_S - 400 * DAY_S)},
    {"is_test": True, "is_continuation": True},
    *({"outcome": outcome} for outcome in (CLIENT_CLOSED, UPSTREAM_FAILED, BROKEN_OFF, REFUSED)),
]


def read(*events: UsageEvent) -> tuple[list[bytes], list[tuple[str, bytes]]]:
    """The ids of those of one record that are acceptable, and each rejection's reason and payload."""
    value = UsageEventBatch(events=events).SerializeToString()
    columns, rejections = read_batch(Batch("a/0", [Record(7, b"key", value)]), NOW)
    ids = [
        high.to_bytes(8, "big") + low.to_bytes(8, "big")
        for high, low in zip(columns.id_high.tolist(), columns.id_low.tolist(), strict=True)
    ]
    return ids, [(each.error, each.record.value) for each in rejections]


@pytest.mark.parametrize("changes", GOOD, ids=str)
def test_what_is_acceptable_is_so_by_itself_and_in_a_batch(changes: dict[str, Any]) -> None:
    event = an_event(**changes)
    assert problem_of(event, NOW) is None
    assert read(event) == ([event.event_id], [])


@pytest.mark.parametrize("changes", BAD, ids=str)
def test_what_is_not_acceptable_is_told_and_keeps_nothing_else_from_being_counted(
    changes: dict[str, Any],
) -> None:
    bad, good = an_event(**changes), an_event(event_id=b"g" * 16)
    problem = problem_of(bad, NOW)
    assert problem is not None
    assert read(good, bad) == (
        [good.event_id],
        [(problem, UsageEventBatch(events=[bad]).SerializeToString())],
    )


@given(
    st.builds(
        an_event,
        status_code=st.integers(-(2**31), 2**31 - 1) | st.integers(90, 610),
        outcome=st.integers(0, 7),
        response_time_ms=st.integers(-5, 2**31 - 1),
        request_payload_size_bytes=st.integers(-(2**63), 2**63 - 1),
        sequence=st.integers(-1, 2**63 - 1),
        journal_id=st.binary(min_size=0, max_size=1) | st.just(b"j" * 16),
        request_id=st.text(max_size=3) | st.just("a" * 129),
        key_prefix=st.text(max_size=3),
        project_id=st.sampled_from(["", ID + "5", "x"]),
        timestamp=st.builds(
            Timestamp,
            seconds=st.sampled_from([0, NOW_S, NOW_S + DAY_S, NOW_S + DAY_S + 1]) | st.integers(0, 10**10),
            nanos=st.integers(0, 10**9 - 1),
        ),
    )
)
@example(an_event())
def test_the_rule_for_one_event_and_the_columns_agree(event: UsageEvent) -> None:
    ids, rejections = read(event)
    problem = problem_of(event, NOW)
    assert (ids, [error for error, _ in rejections]) == (
        ([], [problem]) if problem else ([event.event_id], [])
    )


def test_time_is_cut_to_the_microsecond_and_every_figure_is_kept() -> None:
    value = UsageEventBatch(events=[an_event()]).SerializeToString()
    columns, _ = read_batch(Batch("a/0", [Record(7, None, value)]), NOW)
    (series,) = columns.series.tolist()
    assert columns.occurred_at_us.tolist() == [NOW_S * 1_000_000 + 123_456]
    assert (str(series.consumer_id), str(series.project_id)) == (ID + "1", ID + "5")
    figures = ("offset", "request_bytes", "response_bytes", "response_time_ms", "status_code", "outcome")
    assert [getattr(columns, name).tolist() for name in figures] == [[7], [1], [2], [3], [204], [ANSWERED]]
    assert (columns.sequence.tolist(), columns.request_id.tolist()) == ([7], ["my-request"])
    assert columns.charge_class.tolist() == [SERVED]


def test_records_of_all_forms_are_read_in_one_batch() -> None:
    one, two, alone = (an_event(event_id=bytes([n]) * 16) for n in (1, 2, 3))
    records = [
        Record(0, None, UsageEventBatch(events=[one, two, one]).SerializeToString()),
        Record(1, None, alone.SerializeToString()),
        Record(2, None, b"\xff\xff\xff"),
        Record(3, None, b""),
        Record(4, None, UsageEventBatch(events=[two]).SerializeToString()),
    ]
    columns, rejections = read_batch(Batch("a/0", records), NOW)
    assert columns.offset.tolist() == [0, 0, 1]
    assert [rejection.record.offset for rejection in rejections] == [2, 3]


def test_series_are_numbered_by_who_calls_what_with_which_key_alone() -> None:
    events = [
        an_event(),
        an_event(event_id=bytes(16), key_prefix="other", price_version_id=ID + "9"),
        an_event(event_id=b"p" * 16, project_id=""),
    ]
    value = UsageEventBatch(events=events).SerializeToString()
    columns, _ = read_batch(Batch("a/0", [Record(0, None, value)]), NOW)
    assert len(set(columns.series_id.tolist())) == 2


@pytest.mark.parametrize(
    ("outcome", "status", "expected"),
    [
        (ANSWERED, 200, SERVED),
        (ANSWERED, 302, SERVED),
        (ANSWERED, 404, CLIENT_ERROR),
        (ANSWERED, 500, UNCHARGED),
        (BROKEN_OFF, 200, SERVED),
        (BROKEN_OFF, 503, UNCHARGED),
        (CLIENT_CLOSED, 499, ABANDONED),
        (UPSTREAM_FAILED, 504, UNCHARGED),
        (REFUSED, 413, UNCHARGED),
    ],
)
def test_the_charge_class_is_that_of_the_rating_rules(
    outcome: Outcome.ValueType, status: int, expected: int
) -> None:
    assert charge_class_of(outcome, status) == expected


def test_a_batch_checks_time_against_the_moment_it_is_read() -> None:
    event = an_event(timestamp=Timestamp(seconds=NOW_S + 3 * DAY_S))
    assert problem_of(event, NOW) is not None
    assert problem_of(event, NOW + timedelta(days=2)) is None
