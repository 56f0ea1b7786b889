"""One rule, one place: whoever asks whether a key is good or a service open says the same, in its own words.

Each combination of what the rules look at goes through the gateway, the registry, keys-svc and the web UI.
"""

from datetime import UTC, datetime
from itertools import product
from uuid import UUID

import pytest
from ams.catalog.v1.events_pb2 import ACTIVE, API, DOCKER, ServiceSnapshot, ServiceStatus, ServiceType
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_UNSPECIFIED, Standing
from ams.identity.v1.identity_service_pb2 import User
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_DISABLED, KEY_EXPIRED, KEY_REVOKED, KeySnapshot, KeyStatus
from ams.policy.v1.policy_pb2 import CONSUMER, MERCHANT
from ams_bff.http.sessions import _closed_roles
from ams_common.errors import AppError, PermissionDeniedError
from ams_gateway.access.authorizer import authorize
from ams_gateway.access.snapshots import Grant, read_key, read_service
from ams_gateway.http.problems import Problem
from ams_gateway.http.requests import Request
from keys_svc.access_requests import is_open
from keys_svc.key_services import KeyService
from keys_svc.keys import Key, status_of
from keys_svc.standing import require_active
from registry_svc.auth.rules import is_pullable, key_denial, push_denial
from registry_svc.rpc.push_tokens import require_pushable
from registry_svc.storage.rows import PushToken

NOW = datetime(2027, 1, 15, 8, tzinfo=UTC)
ID = UUID("01900000-0000-7000-8000-000000000001")
REPOSITORY = "acme/crane"

KEYS = [*product(KeyStatus.values(), Standing.values(), (-1, 0, 1))]
SERVICES = [*product(ServiceType.values(), ServiceStatus.values(), Standing.values())]


def key_snapshot(status: KeyStatus.ValueType, standing: Standing.ValueType, expires_in_s: int) -> KeySnapshot:
    snapshot = KeySnapshot(
        key_id=str(ID),
        consumer_id=str(ID),
        service_ids=[str(ID)],
        status=status,
        consumer_standing=standing,
    )
    snapshot.expires_at.FromSeconds(int(NOW.timestamp()) + expires_in_s)
    return snapshot


def service_snapshot(
    kind: ServiceType.ValueType, status: ServiceStatus.ValueType, standing: Standing.ValueType
) -> ServiceSnapshot:
    return ServiceSnapshot(
        service_id=str(ID),
        merchant_id=str(ID),
        type=kind,
        status=status,
        merchant_standing=standing,
        base_url="https://api.example.com",
    )


def at_the_gateway(key: KeySnapshot, service: ServiceSnapshot, address: str = "") -> Grant | Problem:
    request = Request("POST", 1)
    request.key = b"a key"
    request.service_name = str(ID)
    return authorize(
        request,
        read_key(key.SerializeToString()),
        read_service(service.SerializeToString()),
        NOW.timestamp(),
        address,
    )


def expected_key_problem(snapshot: KeySnapshot, expires_in_s: int) -> str | None:
    """The table, in the order of FR2-MERCH-03."""
    if snapshot.status not in (KEY_ACTIVE, KEY_EXPIRED, KEY_DISABLED):
        return "revoked"
    if snapshot.status == KEY_EXPIRED or expires_in_s <= 0:
        return "expired"
    if snapshot.status == KEY_DISABLED:
        return "disabled"
    return None if snapshot.consumer_standing == STANDING_ACTIVE else "blocked"


@pytest.mark.parametrize(("status", "standing", "expires_in_s"), KEYS)
def test_a_key_is_no_good_for_one_reason_everywhere(
    status: KeyStatus.ValueType, standing: Standing.ValueType, expires_in_s: int
) -> None:
    snapshot = key_snapshot(status, standing, expires_in_s)
    expected = expected_key_problem(snapshot, expires_in_s)
    at_gateway = at_the_gateway(snapshot, service_snapshot(API, ACTIVE, STANDING_ACTIVE))
    codes = {
        "revoked": "key_revoked",
        "expired": "key_expired",
        "disabled": "key_disabled",
        "blocked": "consumer_blocked",
    }
    assert (at_gateway.code if isinstance(at_gateway, Problem) else None) == codes.get(str(expected))
    at_registry = key_denial(snapshot, "", NOW)
    assert (at_registry is None) == (expected is None)
    assert expected is None or expected in str(at_registry)


@pytest.mark.parametrize("address", ["192.0.2.9", "192.0.3.9", "2001:db8::9", ""])
@pytest.mark.parametrize("networks", [[], ["192.0.2.0/24", "2001:db8::/32"]])
def test_a_key_is_used_from_the_same_places_everywhere(networks: list[str], address: str) -> None:
    snapshot = key_snapshot(KEY_ACTIVE, STANDING_ACTIVE, 60)
    snapshot.allowed_networks.extend(networks)
    at_gateway = at_the_gateway(snapshot, service_snapshot(API, ACTIVE, STANDING_ACTIVE), address)
    is_here = not networks or address in ("192.0.2.9", "2001:db8::9")
    assert isinstance(at_gateway, Grant) == is_here
    assert is_here or (isinstance(at_gateway, Problem) and at_gateway.code == "address_not_allowed")
    assert (key_denial(snapshot, address, NOW) is None) == is_here


@pytest.mark.parametrize(("is_revoked", "expires_in_s"), [*product((True, False), (-1, 0, 1))])
def test_a_key_reads_in_its_list_as_it_does_where_it_is_used(is_revoked: bool, expires_in_s: int) -> None:
    """A list is read by the key's consumer, whose standing is another matter."""
    expires_at = datetime.fromtimestamp(NOW.timestamp() + expires_in_s, UTC)
    key = Key(
        key_id=ID,
        key_hash=b"",
        key_prefix="",
        consumer_id=ID,
        created_by=ID,
        name="",
        description="",
        ttl_days=1,
        created_at=NOW,
        expires_at=expires_at,
        revoked_at=NOW if is_revoked else None,
        services=[KeyService(service_id=ID)],
    )
    snapshot = key_snapshot(KEY_REVOKED if is_revoked else KEY_ACTIVE, STANDING_ACTIVE, expires_in_s)
    expected = {"revoked": KEY_REVOKED, "expired": KEY_EXPIRED, "None": KEY_ACTIVE}
    assert status_of(key, NOW) == expected[str(expected_key_problem(snapshot, expires_in_s))]


@pytest.mark.parametrize(("kind", "status", "standing"), SERVICES)
def test_a_service_is_open_everywhere_or_nowhere(
    kind: ServiceType.ValueType, status: ServiceStatus.ValueType, standing: Standing.ValueType
) -> None:
    snapshot = service_snapshot(kind, status, standing)
    is_good = status == ACTIVE and standing == STANDING_ACTIVE
    at_gateway = at_the_gateway(key_snapshot(KEY_ACTIVE, STANDING_ACTIVE, 1), snapshot)
    assert isinstance(at_gateway, Problem) != is_good
    if isinstance(at_gateway, Problem):
        stopped = standing != STANDING_ACTIVE
        assert at_gateway.code == ("merchant_suspended" if stopped else "service_inactive")
    assert is_pullable(snapshot) is is_good
    assert is_open(snapshot) is is_good


@pytest.mark.parametrize(("kind", "status", "standing"), SERVICES)
def test_images_are_pushed_where_a_push_token_can_be_made(
    kind: ServiceType.ValueType, status: ServiceStatus.ValueType, standing: Standing.ValueType
) -> None:
    snapshot = service_snapshot(kind, status, standing)
    token = PushToken(
        push_token_id=ID,
        token_prefix="",
        service_id=ID,
        merchant_id=ID,
        name="",
        repository=REPOSITORY,
        created_at=NOW,
        expires_at=NOW,
    )
    denial = push_denial(token, f"{REPOSITORY}", snapshot)
    if denial is None:
        require_pushable(snapshot, ID)
    else:
        with pytest.raises(AppError) as refused:
            require_pushable(snapshot, ID)
        assert ("suspended. Ask AMS" in denial) == (refused.value.code == "merchant_suspended")
    if kind != DOCKER:
        assert denial is not None


@pytest.mark.parametrize("standing", Standing.values())
def test_who_is_stopped_is_stopped_as_consumer_and_as_merchant(standing: Standing.ValueType) -> None:
    stopped = standing not in (STANDING_ACTIVE, STANDING_UNSPECIFIED)
    user = User(merchant_standing=standing, consumer_standing=standing)
    assert set(_closed_roles(user)) == ({MERCHANT, CONSUMER} if stopped else set())
    if stopped:
        with pytest.raises(PermissionDeniedError):
            require_active(standing)
    else:
        require_active(standing)
