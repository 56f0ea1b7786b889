"""The rules of API keys (PRD-9)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from ams.identity.v1.events_pb2 import STANDING_ACTIVE
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_EXPIRED, KEY_REVOKED, KeyStatus
from ams_common.access import KeyProblem, key_problem
from ams_common.errors import FailedPreconditionError, FieldViolation, InvalidArgumentError, NotFoundError

from keys_svc.spend_caps import SpendCap, cap_in

MAX_ACTIVE_KEYS = 100
_STATUS_BY_PROBLEM = {KeyProblem.REVOKED: KEY_REVOKED, KeyProblem.EXPIRED: KEY_EXPIRED, None: KEY_ACTIVE}


class KeyName(NamedTuple):
    """What a consumer calls a key."""

    key_id: UUID
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A row of keys, with the services assigned to it. The key itself is nowhere, only its SHA-256."""

    key_id: UUID
    key_hash: bytes
    key_prefix: str
    consumer_id: UUID
    name: str
    description: str
    ttl_days: int
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    spend_cap: SpendCap | None = None
    is_test: bool = False
    snapshot_version: int = 1
    service_ids: Sequence[UUID]


_PLAIN_COLUMNS = tuple(name for name in Key.__slots__ if name != "spend_cap")


def key_of(row: Mapping[str, Any]) -> Key:
    return Key(**{name: row[name] for name in _PLAIN_COLUMNS}, spend_cap=cap_in(row))


def key_not_found() -> NotFoundError:
    """The same for somebody else's key as for none: nobody can find out which ids there are."""
    return NotFoundError("key_not_found", "There is no such key.")


def found(key: Key | None) -> Key:
    """The key. Raises NotFoundError for None."""
    if key is None:
        raise key_not_found()
    return key


def expiry(now: datetime, ttl_days: int) -> datetime:
    return now + timedelta(days=ttl_days)


def status_of(key: Key, now: datetime) -> KeyStatus.ValueType:
    """Revoked stays revoked though the key would have expired since; at expires_at it is expired."""
    stored = KEY_ACTIVE if key.revoked_at is None else KEY_REVOKED
    # As of an active consumer: a blocked one sees the status that its keys will have again.
    problem = key_problem(stored, key.expires_at.timestamp(), STANDING_ACTIVE, now.timestamp())
    return _STATUS_BY_PROBLEM[problem]


def status_filter(status: KeyStatus.ValueType) -> str | None:
    """A status by its word in the query list_keys; None for the unspecified, which means all."""
    return KeyStatus.Name(status).removeprefix("KEY_").lower() if status else None


def require_distinct(service_ids: Sequence[UUID]) -> None:
    """A service can be assigned once: raises InvalidArgumentError that names the repeated ones."""
    violations = [
        FieldViolation(f"serviceIds[{index}]", "is there twice")
        for index, service_id in enumerate(service_ids)
        if service_id in service_ids[:index]
    ]
    if violations:
        raise InvalidArgumentError("service_ids_repeated", "A service can be assigned only once.", violations)


def require_granted(service_ids: Sequence[UUID], ungranted: Collection[UUID]) -> None:
    """A key opens only what its consumer was given: raises FailedPreconditionError that names the rest."""
    # Services that don't exist are ungranted like all others: nobody can probe for them.
    violations = [
        FieldViolation(f"serviceIds[{index}]", "needs an approved access request")
        for index, service_id in enumerate(service_ids)
        if service_id in ungranted
    ]
    if violations:
        names = ", ".join(str(service_id) for service_id in service_ids if service_id in ungranted)
        raise FailedPreconditionError(
            "service_not_granted", f"These services need an approved access request: {names}.", violations
        )


def require_below_limit(active_keys: int) -> None:
    """Raises FailedPreconditionError when one more active key would be too many."""
    if active_keys >= MAX_ACTIVE_KEYS:
        raise FailedPreconditionError(
            "key_limit_reached", f"You have {MAX_ACTIVE_KEYS} active keys. Revoke one to create another."
        )


def require_unrevoked(key: Key) -> None:
    """Revoking is for good and done once: raises FailedPreconditionError for a revoked key."""
    if key.revoked_at is not None:
        raise FailedPreconditionError("key_already_revoked", "This key is revoked already.")
