"""The rules of API keys (PRD-9)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from ams.identity.v1.events_pb2 import STANDING_ACTIVE
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_DISABLED, KEY_EXPIRED, KEY_REVOKED, KeyStatus
from ams_common.access import KeyProblem, key_problem
from ams_common.errors import FailedPreconditionError, FieldViolation, InvalidArgumentError, NotFoundError

from keys_svc.key_services import KeyService, services_in
from keys_svc.secrets import PreviousSecret, Secret, previous_in
from keys_svc.spend_caps import SpendCap, cap_in

LONGEST_LIFE = timedelta(days=365)
_STATUS_BY_PROBLEM = {
    KeyProblem.REVOKED: KEY_REVOKED,
    KeyProblem.EXPIRED: KEY_EXPIRED,
    KeyProblem.DISABLED: KEY_DISABLED,
    None: KEY_ACTIVE,
}


class KeyName(NamedTuple):
    """What a consumer calls a key."""

    key_id: UUID
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A row of keys, with the services that it was made for and its secrets, of which only SHA-256 is kept.

    `ttl_days` None: it has a fixed end. `services`: in the order of their ids. `previous`: the secrets that
    still work, or have ended within a day. `project_spend_cap`: over all keys of its project.
    """

    key_id: UUID
    key_hash: bytes
    key_prefix: str
    consumer_id: UUID
    project_id: UUID | None = None
    created_by: UUID
    name: str
    description: str
    ttl_days: int | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    disabled_at: datetime | None = None
    rotated_at: datetime | None = None
    allowed_networks: Sequence[str] = ()
    spend_cap: SpendCap | None = None
    project_spend_cap: SpendCap | None = None
    is_test: bool = False
    snapshot_version: int = 1
    services: Sequence[KeyService]
    previous: Sequence[PreviousSecret] = ()

    @property
    def holder_id(self) -> UUID:
        """The project or else the person that it belongs to."""
        return self.project_id or self.consumer_id

    @property
    def callable_services(self) -> list[KeyService]:
        return [service for service in self.services if service.loss is None]

    def secrets(self, now: datetime) -> list[Secret]:
        """Each that opens something, or has ceased to at this very moment."""
        own = Secret(self.key_hash, self.key_prefix, self.expires_at)
        return [own, *(each.bounded(self.expires_at) for each in self.previous if each.ends_at >= now)]


_TAKEN_APART = ("spend_cap", "project_spend_cap", "services", "previous")
_PLAIN_COLUMNS = tuple(name for name in Key.__slots__ if name not in _TAKEN_APART)


def key_of(row: Mapping[str, Any]) -> Key:
    return Key(
        **{name: row[name] for name in _PLAIN_COLUMNS},
        spend_cap=cap_in(row),
        project_spend_cap=cap_in(row, "project_"),
        services=services_in(row),
        previous=previous_in(row),
    )


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


def wanted_expiry(now: datetime, ttl_days: int, expires_at: datetime | None) -> datetime:
    """When a key ends that is asked for with a number of days, or with a fixed date.

    Raises InvalidArgumentError key_expiry_invalid unless it is one of both, within a year from now.
    """
    if expires_at is None:
        if ttl_days < 1:
            raise _expiry_invalid("ttlDays", "must be from 1 to 365, unless a fixed end is given")
        return expiry(now, ttl_days)
    if ttl_days:
        raise _expiry_invalid("expiresAt", "can't be given together with a number of days")
    if not now < expires_at <= now + LONGEST_LIFE:
        raise _expiry_invalid("expiresAt", "must lie in the future, by a year at most")
    return expires_at


def _expiry_invalid(field: str, description: str) -> InvalidArgumentError:
    violation = FieldViolation(field, description)
    return InvalidArgumentError("key_expiry_invalid", f"The key's end {description}.", [violation])


def status_of(key: Key, now: datetime) -> KeyStatus.ValueType:
    """Revoked stays revoked though the key would have expired since; at expires_at it is expired."""
    stored = KEY_DISABLED if key.disabled_at is not None else KEY_ACTIVE
    if key.revoked_at is not None:
        stored = KEY_REVOKED
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
    """A key opens only what its holder was given: raises FailedPreconditionError that names the rest."""
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


def require_below_limit(active_keys: int, most: int) -> None:
    """Raises FailedPreconditionError when one more active key would be more than `most`."""
    if active_keys >= most:
        raise FailedPreconditionError(
            "key_limit_reached",
            f"There are {active_keys} active keys, and {most} are allowed. Revoke one to create another.",
        )


def require_unrevoked(key: Key) -> None:
    """Revoking is for good and done once: raises FailedPreconditionError for a revoked key."""
    if key.revoked_at is not None:
        raise FailedPreconditionError("key_already_revoked", "This key is revoked already.")


def require_status(key: Key, wanted: KeyStatus.ValueType, now: datetime) -> None:
    """Raises FailedPreconditionError key_not_active or key_not_disabled for a key in another status."""
    if status_of(key, now) == wanted:
        return
    if wanted == KEY_DISABLED:
        raise FailedPreconditionError("key_not_disabled", "This key isn't disabled.")
    raise FailedPreconditionError("key_not_active", "This key isn't active.")
