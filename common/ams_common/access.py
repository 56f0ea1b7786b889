"""Who may: the rules about keys, services and standing. Pure, and the only place where they stand.

The gateway, the registry, keys-svc and the web UI ask here, and each puts the answer into its own words.
A problem is a value; None means that there is none. A status or standing that isn't known is the strict one.
"""

from collections.abc import Sequence
from enum import Enum, auto

from ams.catalog.v1.events_pb2 import (
    ACTIVE,
    DOCKER,
    SERVICE_RETIRED,
    SERVICE_SUSPENDED,
    ServiceStatus,
    ServiceType,
)
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_UNSPECIFIED, Standing
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_DISABLED, KEY_EXPIRED, KeyStatus

from ams_common.call_rules import CallRule, may_call
from ams_common.networks import Network, is_within


class KeyProblem(Enum):
    """Why an API key opens nothing at all."""

    REVOKED = auto()
    EXPIRED = auto()
    DISABLED = auto()
    CONSUMER_STOPPED = auto()


class ServiceProblem(Enum):
    """Why a service can't be called, asked for, pulled from or pushed to."""

    MERCHANT_STOPPED = auto()
    INACTIVE = auto()
    NOT_DOCKER = auto()
    SUSPENDED = auto()
    RETIRED = auto()


def is_stopped(standing: Standing.ValueType) -> bool:
    """Whether an admin has suspended or blocked somebody.

    Somebody whose registration hasn't been heard of yet has no standing, and isn't stopped.
    """
    return standing not in (STANDING_UNSPECIFIED, STANDING_ACTIVE)


def key_problem(
    status: KeyStatus.ValueType, expires_at_s: float, consumer_standing: Standing.ValueType, now_s: float
) -> KeyProblem | None:
    """Why the key is no good, in the order of FR2-MERCH-03: what is for good comes before what time does.

    `expires_at_s` and `now_s` are Unix times. At its very `expires_at_s` a key has expired.
    """
    if status not in (KEY_ACTIVE, KEY_EXPIRED, KEY_DISABLED):
        return KeyProblem.REVOKED
    if status == KEY_EXPIRED or now_s >= expires_at_s:
        return KeyProblem.EXPIRED
    if status == KEY_DISABLED:
        return KeyProblem.DISABLED
    if consumer_standing != STANDING_ACTIVE:
        return KeyProblem.CONSUMER_STOPPED
    return None


def may_call_from(networks: Sequence[Network], address: str) -> bool:
    """Whether a key with these networks, none for any, may be used from a client's address. One that isn't
    known ("") lies in no network."""
    return not networks or is_within(address, networks)


def may_make_call(rules: Sequence[CallRule], method: str, path: bytes | None) -> bool:
    """Whether a key with these rules for a service, none for any call, may make this one. `path` is what the
    consumer asks for below the service's base URL, None for the base URL itself."""
    return not rules or may_call(rules, method, path)


def service_problem(
    status: ServiceStatus.ValueType, merchant_standing: Standing.ValueType
) -> ServiceProblem | None:
    """Why consumers can't call the service, pull from it or ask for it."""
    if merchant_standing != STANDING_ACTIVE:
        return ServiceProblem.MERCHANT_STOPPED
    return None if status == ACTIVE else ServiceProblem.INACTIVE


def push_problem(
    kind: ServiceType.ValueType, status: ServiceStatus.ValueType, merchant_standing: Standing.ValueType
) -> ServiceProblem | None:
    """Why its merchant can't push images to the service, which needn't be approved for that.

    A merchant that the catalog hasn't heard of yet has no standing, and may push.
    """
    if kind != DOCKER:
        return ServiceProblem.NOT_DOCKER
    if status == SERVICE_SUSPENDED:
        return ServiceProblem.SUSPENDED
    if status == SERVICE_RETIRED:
        return ServiceProblem.RETIRED
    return ServiceProblem.MERCHANT_STOPPED if is_stopped(merchant_standing) else None
