"""Whether a key may call a service, as a pure decision."""

from collections.abc import Callable
from typing import Any

import pytest
from ams.catalog.v1 import events_pb2 as catalog
from ams.identity.v1 import events_pb2 as identity
from ams.keys.v1 import events_pb2 as keys
from ams_gateway.access.authorizer import authorize
from ams_gateway.access.snapshots import read_key, read_service
from ams_gateway.http.problems import Problem
from ams_gateway.http.requests import Request
from hypothesis import given
from hypothesis import strategies as st

NOW_S = 1_800_000_000.0

KEY = keys.KeySnapshot(
    key_id="k",
    consumer_id="c",
    key_prefix="ams_live_12345678",
    service_ids=["s"],
    status=keys.KEY_ACTIVE,
    consumer_standing=identity.STANDING_ACTIVE,
)
KEY.expires_at.FromSeconds(int(NOW_S) + 1)
SERVICE = catalog.ServiceSnapshot(
    service_id="s",
    slug="slug",
    merchant_id="m",
    status=catalog.ACTIVE,
    merchant_standing=identity.STANDING_ACTIVE,
    base_url="https://api.example.com",
    price_version_id="p",
)

Change = Callable[[keys.KeySnapshot, catalog.ServiceSnapshot], Any]

# In the order of FR2-MERCH-03: the problem's code, and what is wrong.
FAULTS: list[tuple[str, Change]] = [
    ("key_revoked", lambda key, service: setattr(key, "status", keys.KEY_REVOKED)),
    ("key_expired", lambda key, service: key.expires_at.FromSeconds(int(NOW_S))),
    ("key_disabled", lambda key, service: setattr(key, "status", keys.KEY_DISABLED)),
    (
        "consumer_blocked",
        lambda key, service: setattr(key, "consumer_standing", identity.STANDING_BLOCKED),
    ),
    ("address_not_allowed", lambda key, service: key.allowed_networks.append("198.51.100.0/24")),
    ("service_not_granted", lambda key, service: key.ClearField("service_ids")),
    (
        "call_not_allowed",
        lambda key, service: key.service_terms.add(service_id="s").allowed_calls.add(path="/other"),
    ),
    (
        "merchant_suspended",
        lambda key, service: setattr(service, "merchant_standing", identity.STANDING_SUSPENDED),
    ),
    ("service_inactive", lambda key, service: setattr(service, "status", catalog.SERVICE_SUSPENDED)),
    ("upstream_misconfigured", lambda key, service: service.ClearField("base_url")),
]
CODES = [code for code, _ in FAULTS]


def code(
    key: keys.KeySnapshot | None, service: catalog.ServiceSnapshot | None, *, named: bool = True
) -> str | None:
    """The denial's code; None for a grant."""
    request = Request("POST", 1)
    request.key = b"a key"
    request.service_name = "a service" if named else None
    decision = authorize(
        request,
        None if key is None else read_key(key.SerializeToString()),
        None if service is None else read_service(service.SerializeToString()),
        NOW_S,
        "192.0.2.7",
    )
    return decision.code if isinstance(decision, Problem) else None


def test_a_good_call_passes() -> None:
    assert code(KEY, SERVICE) is None


@given(st.lists(st.sampled_from(CODES), unique=True, min_size=1))
def test_the_first_fault_in_the_prds_order_is_the_one_that_is_named(faults: list[str]) -> None:
    key, service = keys.KeySnapshot(), catalog.ServiceSnapshot()
    key.CopyFrom(KEY)
    service.CopyFrom(SERVICE)
    for fault, change in FAULTS:
        if fault in faults:
            change(key, service)
    # Of a key whose status says one thing it can't say the other.
    if {"key_revoked", "key_disabled"} <= set(faults):
        key.status = keys.KEY_REVOKED
    assert code(key, service) == min(faults, key=CODES.index)


def test_unknown_keys_come_before_everything() -> None:
    assert code(None, None, named=False) == "key_invalid"


def test_an_unnamed_service_comes_after_the_key() -> None:
    assert code(keys.KeySnapshot(status=keys.KEY_REVOKED), None, named=False) == "key_revoked"
    assert code(KEY, None, named=False) == "service_required"


def test_an_unknown_service_is_as_one_that_isnt_granted() -> None:
    assert code(KEY, None) == code(KEY, catalog.ServiceSnapshot(service_id="other")) == "service_not_granted"


@pytest.mark.parametrize(
    "snapshot",
    [
        keys.KeySnapshot(),
        keys.KeySnapshot(status=keys.KEY_ACTIVE),
        keys.KeySnapshot(status=keys.KEY_EXPIRED, consumer_standing=identity.STANDING_ACTIVE),
    ],
)
def test_what_a_key_snapshot_leaves_unsaid_is_refused(snapshot: keys.KeySnapshot) -> None:
    assert code(snapshot, SERVICE) is not None


@pytest.mark.parametrize(
    "snapshot",
    [
        catalog.ServiceSnapshot(service_id="s", base_url="https://a.example"),
        catalog.ServiceSnapshot(service_id="s", base_url="https://a.example", status=catalog.ACTIVE),
    ],
)
def test_what_a_service_snapshot_leaves_unsaid_is_refused(snapshot: catalog.ServiceSnapshot) -> None:
    assert code(KEY, snapshot) is not None
