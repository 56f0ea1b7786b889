"""The rules of API keys (PRD §9 "API Key")."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ams.identity.v1.events_pb2 import Standing
from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_EXPIRED, KEY_REVOKED, KeySnapshot, KeyStatus
from ams_common.clock import to_timestamp
from ams_common.errors import FailedPreconditionError, FieldViolation, InvalidArgumentError

MAX_ACTIVE_KEYS = 100
# What lists are filtered by: the words of the query list_keys.
_STATUS_IN_QUERY = {KEY_ACTIVE: "active", KEY_EXPIRED: "expired", KEY_REVOKED: "revoked"}


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
    service_ids: Sequence[UUID]


def expiry(now: datetime, ttl_days: int) -> datetime:
    """When a key made now ends."""
    return now + timedelta(days=ttl_days)


def status_of(key: Key, now: datetime) -> KeyStatus.ValueType:
    """Revoked stays revoked though the key would have expired since; at expires_at it is expired."""
    if key.revoked_at is not None:
        return KEY_REVOKED
    return KEY_EXPIRED if key.expires_at <= now else KEY_ACTIVE


def status_filter(status: KeyStatus.ValueType) -> str | None:
    """A status as the query has it; None for the unspecified, which means all."""
    return _STATUS_IN_QUERY.get(status)


def require_distinct(service_ids: Sequence[UUID]) -> None:
    """Raises InvalidArgumentError that names the repeated ones."""
    violations = [
        FieldViolation(f"serviceIds[{index}]", "is there twice")
        for index, service_id in enumerate(service_ids)
        if service_id in service_ids[:index]
    ]
    if violations:
        raise InvalidArgumentError("service_ids_repeated", "A service can be assigned only once.", violations)


def require_granted(service_ids: Sequence[UUID], ungranted: Collection[UUID]) -> None:
    """Raises FailedPreconditionError that names all ungranted ones. The same for services that don't
    exist: nobody can probe for them."""
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


def require_room(active_keys: int) -> None:
    """Raises FailedPreconditionError when one more active key would be too many."""
    if active_keys >= MAX_ACTIVE_KEYS:
        raise FailedPreconditionError(
            "key_limit_reached", f"You have {MAX_ACTIVE_KEYS} active keys. Revoke one to create another."
        )


def require_unrevoked(key: Key) -> None:
    """Raises FailedPreconditionError: revoking is for good and done once."""
    if key.revoked_at is not None:
        raise FailedPreconditionError("key_already_revoked", "This key is revoked already.")


def key_message(key: Key, now: datetime) -> pb.Key:
    return pb.Key(
        key_id=str(key.key_id),
        consumer_id=str(key.consumer_id),
        name=key.name,
        description=key.description,
        key_prefix=key.key_prefix,
        service_ids=[str(service_id) for service_id in key.service_ids],
        status=status_of(key, now),
        ttl_days=key.ttl_days,
        expires_at=to_timestamp(key.expires_at),
        created_at=to_timestamp(key.created_at),
        revoked_at=to_timestamp(key.revoked_at),
    )


def key_snapshot(key: Key, standing: Standing.ValueType, now: datetime) -> KeySnapshot:
    """What the gateway serves from. Written for keys that are active or revoked; expiry is the gateway's
    to see, by its clock."""
    return KeySnapshot(
        key_id=str(key.key_id),
        consumer_id=str(key.consumer_id),
        key_prefix=key.key_prefix,
        service_ids=[str(service_id) for service_id in key.service_ids],
        status=status_of(key, now),
        expires_at=to_timestamp(key.expires_at),
        consumer_standing=standing,
    )
