"""The decision as a pure function."""

from dataclasses import replace
from typing import Any

import pytest
from ams.catalog.v1 import events_pb2 as catalog
from ams.identity.v1 import events_pb2 as identity
from ams.keys.v1 import events_pb2 as keys
from ams_gateway.decision import decide
from ams_gateway.subjects import Key, Service, read_key, read_service
from ams_gateway.targets import parse_base_url
from hypothesis import given
from hypothesis import strategies as st

NOW_S = 1_800_000_000.0

KEY = Key("k", "c", "", "ams_live_12345678", frozenset({"s"}), False, NOW_S + 1, False)
SERVICE = Service("s", "slug", "m", True, False, parse_base_url("https://api.example.com"), 0, "p", 0.0)

# In the PRD's order: what is wrong, and its code.
KEY_FAULTS: list[tuple[str, Any, str]] = [
    ("revoked", True, "key_revoked"),
    ("expires_at_s", NOW_S, "key_expired"),
]
KEY_FAULTS += [
    ("consumer_blocked", True, "consumer_blocked"),
    ("service_ids", frozenset(), "service_not_granted"),
]
SERVICE_FAULTS: list[tuple[str, Any, str]] = [
    ("merchant_suspended", True, "merchant_suspended"),
    ("active", False, "service_inactive"),
]
SERVICE_FAULTS += [("target", None, "upstream_misconfigured")]
FAULTS: list[tuple[str, str, Any, str]] = [("key", *fault) for fault in KEY_FAULTS] + [
    ("service", *fault) for fault in SERVICE_FAULTS
]


def code(key: Key | None, service: Service | None, *, named: bool = True) -> str | None:
    problem = decide(key, service, NOW_S, named=named)
    return problem.code if problem else None


def test_a_good_call_passes() -> None:
    assert code(KEY, SERVICE) is None


@given(st.lists(st.sampled_from(FAULTS), unique_by=lambda fault: fault[1], min_size=1))
def test_the_first_fault_in_the_prds_order_is_the_one_that_is_named(
    faults: list[tuple[str, str, Any, str]],
) -> None:
    key, service = KEY, SERVICE
    for subject, field, value, _ in faults:
        if subject == "key":
            key = replace(key, **{field: value})
        else:
            service = replace(service, **{field: value})
    assert code(key, service) == min(faults, key=FAULTS.index)[3]


def test_unknown_keys_come_before_everything() -> None:
    assert code(None, None, named=False) == "key_invalid"


def test_an_unnamed_service_comes_after_the_key() -> None:
    assert code(replace(KEY, revoked=True), None, named=False) == "key_revoked"
    assert code(KEY, None, named=False) == "service_required"


def test_an_unknown_service_is_as_one_that_isnt_granted() -> None:
    assert code(KEY, None) == code(KEY, replace(SERVICE, service_id="other")) == "service_not_granted"


@pytest.mark.parametrize(
    "snapshot",
    [
        keys.KeySnapshot(),
        keys.KeySnapshot(status=keys.KEY_ACTIVE),
        keys.KeySnapshot(status=keys.KEY_EXPIRED, consumer_standing=identity.STANDING_ACTIVE),
    ],
)
def test_what_a_key_snapshot_leaves_unsaid_is_refused(snapshot: keys.KeySnapshot) -> None:
    assert decide(read_key(snapshot.SerializeToString()), SERVICE, NOW_S) is not None


@pytest.mark.parametrize(
    "snapshot",
    [
        catalog.ServiceSnapshot(service_id="s", base_url="https://a.example"),
        catalog.ServiceSnapshot(service_id="s", base_url="https://a.example", status=catalog.ACTIVE),
    ],
)
def test_what_a_service_snapshot_leaves_unsaid_is_refused(snapshot: catalog.ServiceSnapshot) -> None:
    assert decide(KEY, read_service(snapshot.SerializeToString()), NOW_S) is not None
