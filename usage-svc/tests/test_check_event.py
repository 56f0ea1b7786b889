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
    )


def test_no_project_is_none() -> None:
    assert check_event(an_event(project_id=""), NOW).project_id is None


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
    ],
)
def test_what_cannot_be_counted_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedEventError):
        check_event(an_event(**changes), NOW)


@pytest.mark.parametrize("seconds", [NOW_S + DAY_S, NOW_S - 400 * DAY_S])
def test_the_edges_of_the_accepted_time_are_accepted(seconds: int) -> None:
    event = check_event(an_event(timestamp=Timestamp(seconds=seconds)), NOW)
    assert event.occurred_at.timestamp() == seconds


def test_only_what_the_upstream_failed_to_answer_is_free() -> None:
    billable = {outcome: is_billable(outcome) for outcome in (ANSWERED, CLIENT_CLOSED, UPSTREAM_FAILED)}
    assert billable == {ANSWERED: True, CLIENT_CLOSED: True, UPSTREAM_FAILED: False}


@given(st.binary(max_size=200))
def test_any_bytes_that_parse_are_accepted_or_refused_never_a_fault(payload: bytes) -> None:
    try:
        event = UsageEvent.FromString(payload)
    except Exception:
        return
    with pytest.raises(MalformedEventError):  # chance never makes six ids
        check_event(event, NOW)
