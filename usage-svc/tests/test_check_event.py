from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from ams.usage.v1.events_pb2 import ANSWERED, CLIENT_CLOSED, OUTCOME_UNSPECIFIED, UPSTREAM_FAILED, UsageEvent
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from usage_svc.events import MalformedEventError, check_event, is_billable

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
DAY_S = 24 * 3600
ID = "019ab000-0000-7000-8000-00000000000"


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


def test_every_field_is_kept_and_time_is_cut_to_the_microsecond() -> None:
    assert check_event(an_event(), NOW) == (
        UUID(bytes=bytes(range(16))),
        NOW + timedelta(microseconds=123_456),
        UUID(ID + "1"),
        UUID(ID + "2"),
        UUID(ID + "3"),
        UUID(ID + "4"),
        UUID(ID + "5"),
        UUID(ID + "6"),
        "ams_live_abcdefgh",
        1,
        2,
        3,
        204,
        "answered",
        True,
        UUID(bytes=b"j" * 16),
        7,
        False,
        4,
        5,
        "my-request",
        False,
    )


def test_no_project_is_none() -> None:
    assert check_event(an_event(project_id=""), NOW).project_id is None


def test_an_event_of_an_older_gateway_has_no_number_and_no_request_id() -> None:
    event = check_event(an_event(journal_id=b"", sequence=0, request_id=""), NOW)
    assert (event.journal_id, event.sequence, event.request_id) == (None, None, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"event_id": b""},
        {"event_id": bytes(15)},
        {"event_id": bytes(17)},
        {"timestamp": None},
        {"timestamp": Timestamp(seconds=NOW_S + DAY_S + 1)},
        {"timestamp": Timestamp(seconds=NOW_S - 400 * DAY_S - 1)},
        {"timestamp": Timestamp(seconds=NOW_S, nanos=-1)},
        {"timestamp": Timestamp(seconds=NOW_S, nanos=1_000_000_000)},
        {"timestamp": Timestamp(seconds=2**62)},
        {"timestamp": Timestamp(seconds=-(2**62))},
        *[
            {name: text}
            for name in ("consumer_id", "api_key_id", "service_id", "merchant_id", "price_version_id")
            for text in ("", "x", f"{{{ID}1}}", (ID + "1").upper())
        ],
        {"project_id": "team"},
        {"key_prefix": ""},
        {"key_prefix": "a\0b"},
        {"key_prefix": "a" * 33},
        {"request_payload_size_bytes": -1},
        {"response_payload_size_bytes": -1},
        {"request_payload_size_bytes": 2**63 - 1},
        {"response_time_ms": -1},
        {"status_code": 99},
        {"status_code": 600},
        {"outcome": OUTCOME_UNSPECIFIED},
        {"outcome": 9},
        {"journal_id": b"", "sequence": 1},
        {"journal_id": bytes(15)},
        {"sequence": 0},
        {"sequence": -1},
        {"request_messages": -1},
        {"response_messages": 2**63 - 1},
        {"request_id": "a b"},
        {"request_id": "a" * 129},
    ],
)
def test_what_cannot_be_counted_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedEventError):
        check_event(an_event(**changes), NOW)


@pytest.mark.parametrize("seconds", [NOW_S + DAY_S, NOW_S - 400 * DAY_S])
def test_the_edges_of_the_accepted_time_are_accepted(seconds: int) -> None:
    event = check_event(an_event(timestamp=Timestamp(seconds=seconds)), NOW)
    assert event.occurred_at.timestamp() == seconds


def test_what_the_upstream_failed_to_answer_tests_and_what_goes_on_of_a_call_are_free() -> None:
    billable = {outcome: is_billable(outcome) for outcome in (ANSWERED, CLIENT_CLOSED, UPSTREAM_FAILED)}
    assert billable == {ANSWERED: True, CLIENT_CLOSED: True, UPSTREAM_FAILED: False}
    assert not is_billable(ANSWERED, is_test=True)
    assert not is_billable(ANSWERED, is_continuation=True)


@given(st.binary(max_size=200))
def test_any_bytes_that_parse_are_accepted_or_refused_never_a_fault(payload: bytes) -> None:
    try:
        event = UsageEvent.FromString(payload)
    except Exception:
        return
    with pytest.raises(MalformedEventError):  # chance never makes six ids
        check_event(event, NOW)
