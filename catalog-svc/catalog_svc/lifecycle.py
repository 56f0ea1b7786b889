"""The life of a service: which change is allowed in which state (PRD-9).

Pure: a record and the moment go in, the changed record comes out.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from ams.identity.v1.events_pb2 import Standing
from ams_common.access import is_stopped
from ams_common.errors import (
    FailedPreconditionError,
    FieldViolation,
    InvalidArgumentError,
    PermissionDeniedError,
)

from catalog_svc.edits import CHANGEABLE, WHEN_LIVE, WhenLive, json_name
from catalog_svc.records import Forwarding, ServiceRecord

DRAFT = "draft"
PENDING_APPROVAL = "pending_approval"
ACTIVE = "active"
REJECTED = "rejected"
SUSPENDED = "suspended"
RETIRED = "retired"

API = "api"
DOCKER = "docker"

CREATABLE_TYPES = frozenset({API, DOCKER})
_EDITABLE = frozenset({DRAFT, REJECTED})

# The one table: by action, where it leads from where. Who may take it is the contract's.
TRANSITIONS: Mapping[str, Mapping[str, str]] = {
    "submit": {DRAFT: PENDING_APPROVAL, REJECTED: PENDING_APPROVAL},
    "withdraw": {PENDING_APPROVAL: DRAFT, ACTIVE: DRAFT},
    "approve": {PENDING_APPROVAL: ACTIVE},
    "reject": {PENDING_APPROVAL: REJECTED},
    "suspend": {ACTIVE: SUSPENDED},
    "reinstate": {SUSPENDED: ACTIVE},
    "retire": {DRAFT: RETIRED, REJECTED: RETIRED, ACTIVE: RETIRED, SUSPENDED: RETIRED},
}
_REFUSALS = {
    "submit": ("service_not_submittable", "Only a draft or a rejected service can be submitted."),
    "withdraw": (
        "service_not_withdrawable",
        "Only a service that waits for approval or is in the marketplace can be withdrawn.",
    ),
    "approve": ("service_not_pending", "This service doesn't wait for approval."),
    "reject": ("service_not_pending", "This service doesn't wait for approval."),
    "suspend": ("service_not_active", "Only an active service can be suspended."),
    "reinstate": ("service_not_suspended", "This service isn't suspended."),
    "retire": (
        "service_not_retirable",
        "A service that waits for approval is withdrawn first, and one that is retired stays so.",
    ),
}


def possible_actions(record: ServiceRecord) -> list[str]:
    """What can be done in the record's state, by whoever may, sorted."""
    return sorted(action for action, ways in TRANSITIONS.items() if record.status in ways)


def transition(record: ServiceRecord, action: str, now: datetime, reason: str = "") -> ServiceRecord:
    """The record after an action of TRANSITIONS. Raises FailedPreconditionError where its state has no way
    for that, or service_incomplete for one that can't be submitted yet."""
    ways = TRANSITIONS[action]
    if record.status not in ways:
        raise FailedPreconditionError(*_REFUSALS[action])
    status = ways[record.status]
    if status == PENDING_APPROVAL:
        check_complete(record)
    return replace(
        record,
        status=status,
        # The table lets a service have a reason in that state alone.
        rejection_reason=reason if status == REJECTED else "",
        suspension_reason=reason if status == SUSPENDED else "",
        published_at=now if action == "approve" else record.published_at,
        updated_at=now,
    )


def check_service_count(count: int, most: int) -> None:
    """Raises FailedPreconditionError when a merchant with `count` services may have no more than `most`."""
    if count >= most:
        raise FailedPreconditionError(
            "service_limit_reached",
            f"You have {count} services, and {most} are allowed. Ask an admin for more.",
        )


def check_merchant_acts(standing: Standing.ValueType) -> None:
    """Raises PermissionDeniedError merchant_suspended: a token may be older than the suspension."""
    if is_stopped(standing):
        raise PermissionDeniedError(
            "merchant_suspended", "Your company is suspended: its services can't be changed."
        )


def check_type(service_type: str) -> None:
    """Raises FailedPreconditionError service_type_not_available for a type that nobody can publish."""
    if service_type not in CREATABLE_TYPES:
        raise FailedPreconditionError(
            "service_type_not_available",
            "Services of this type can't be published. Choose an API or a Docker service.",
        )


def check_complete(record: ServiceRecord) -> None:
    """Raises FailedPreconditionError service_incomplete for what isn't fit for the marketplace."""
    if record.type == API and not record.base_url:
        raise FailedPreconditionError(
            "service_incomplete",
            "An API service needs a base URL before it can be submitted.",
            [FieldViolation("baseUrl", "is required")],
        )


def check_reachable(record: ServiceRecord) -> None:
    """Raises InvalidArgumentError base_url_not_for_images or forwarding_not_for_images for a Docker service
    with a base URL or with settings of its forwarding."""
    # Nobody calls an image through AMS: the gateway would forward to what isn't there.
    if record.type != DOCKER:
        return
    if record.base_url:
        raise InvalidArgumentError(
            "base_url_not_for_images",
            "A Docker service has no base URL: consumers pull its images.",
            [FieldViolation("baseUrl", "must be empty for a Docker service")],
        )
    if record.forwarding != Forwarding():
        raise InvalidArgumentError(
            "forwarding_not_for_images",
            "Calls of a Docker service aren't forwarded: consumers pull its images.",
            [FieldViolation("forwarding", "must be empty for a Docker service")],
        )


def changeable_fields(record: ServiceRecord) -> frozenset[str]:
    """The fields that UpdateService takes in the record's present state."""
    if record.status in _EDITABLE:
        # A price that has been in force is followed by another one, and never edited.
        return CHANGEABLE if record.price_version_id is None else CHANGEABLE - {"price"}
    if record.status == ACTIVE:
        return frozenset(
            name.partition(".")[0] for name, when in WHEN_LIVE.items() if when is not WhenLive.NOT
        )
    return frozenset()


def check_changeable(record: ServiceRecord, fields: frozenset[str]) -> None:
    """Raises FailedPreconditionError service_not_editable, or service_field_locked when only some of
    `fields` can't be changed in the record's state."""
    changeable = changeable_fields(record)
    if not changeable:
        raise FailedPreconditionError(
            "service_not_editable",
            "A service can't be changed while it waits for approval, is suspended or is retired.",
        )
    if locked := sorted(field for field in fields if field.partition(".")[0] not in changeable):
        raise FailedPreconditionError(
            "service_field_locked",
            f"A service that has been active keeps its {', '.join(locked).replace('_', ' ')}.",
            [FieldViolation(json_name(field), "can't be changed any more") for field in locked],
        )


def fields_for_approval(record: ServiceRecord, fields: frozenset[str]) -> frozenset[str]:
    """Those of `fields` that change only once an admin has approved that."""
    if record.status != ACTIVE:
        return frozenset()
    return frozenset(field for field in fields if WHEN_LIVE[field] is WhenLive.ONCE_APPROVED)
