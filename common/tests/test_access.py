"""Who may: the rules, over every combination of what they look at."""

from itertools import product

import pytest
from ams.catalog.v1.events_pb2 import (
    ACTIVE,
    DOCKER,
    SERVICE_RETIRED,
    SERVICE_SUSPENDED,
    ServiceStatus,
    ServiceType,
)
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_UNSPECIFIED, Standing
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_EXPIRED, KEY_REVOKED, KeyStatus
from ams_common.access import (
    KeyProblem,
    ServiceProblem,
    is_stopped,
    key_problem,
    push_problem,
    service_problem,
)

UNKNOWN = 99
KEY_STATUSES = [*KeyStatus.values(), UNKNOWN]
STANDINGS = [*Standing.values(), UNKNOWN]
SERVICE_STATUSES = [*ServiceStatus.values(), UNKNOWN]


@pytest.mark.parametrize("standing", STANDINGS)
def test_who_is_suspended_blocked_or_something_unknown_is_stopped(standing: Standing.ValueType) -> None:
    assert is_stopped(standing) == (standing not in (STANDING_ACTIVE, STANDING_UNSPECIFIED))


@pytest.mark.parametrize(
    ("status", "standing", "now_s"), [*product(KEY_STATUSES, STANDINGS, (9.9, 10.0, 11.0))]
)
def test_a_key_is_revoked_before_it_is_expired_before_its_consumer_is_stopped(
    status: KeyStatus.ValueType, standing: Standing.ValueType, now_s: float
) -> None:
    is_over = now_s >= 10
    expected = (
        KeyProblem.REVOKED
        if status in (KEY_REVOKED, 0, UNKNOWN)
        else KeyProblem.EXPIRED
        if status == KEY_EXPIRED or is_over
        else KeyProblem.CONSUMER_STOPPED
        if standing != STANDING_ACTIVE
        else None
    )
    assert key_problem(status, 10.0, standing, now_s) is expected
    assert (expected is None) == (status == KEY_ACTIVE and standing == STANDING_ACTIVE and not is_over)


@pytest.mark.parametrize(("status", "standing"), [*product(SERVICE_STATUSES, STANDINGS)])
def test_a_service_is_for_use_when_it_is_active_and_so_is_its_merchant(
    status: ServiceStatus.ValueType, standing: Standing.ValueType
) -> None:
    if standing != STANDING_ACTIVE:
        assert service_problem(status, standing) is ServiceProblem.MERCHANT_STOPPED
    else:
        assert service_problem(status, standing) is (None if status == ACTIVE else ServiceProblem.INACTIVE)


@pytest.mark.parametrize(
    ("kind", "status", "standing"), [*product([*ServiceType.values(), UNKNOWN], SERVICE_STATUSES, STANDINGS)]
)
def test_images_are_pushed_to_docker_services_that_nobody_stopped(
    kind: ServiceType.ValueType, status: ServiceStatus.ValueType, standing: Standing.ValueType
) -> None:
    problem = push_problem(kind, status, standing)
    if kind != DOCKER:
        assert problem is ServiceProblem.NOT_DOCKER
    elif status == SERVICE_SUSPENDED:
        assert problem is ServiceProblem.SUSPENDED
    elif status == SERVICE_RETIRED:
        assert problem is ServiceProblem.RETIRED
    else:
        assert problem is (ServiceProblem.MERCHANT_STOPPED if is_stopped(standing) else None)
