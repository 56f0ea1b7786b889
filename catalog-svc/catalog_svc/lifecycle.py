"""The life of a service: which change is allowed in which state (PRD-9).

DRAFT → PENDING_APPROVAL → ACTIVE or REJECTED; REJECTED → PENDING_APPROVAL. Pure: a record and the
moment go in, the changed record comes out.
"""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from ams_common.errors import FailedPreconditionError, FieldViolation, InvalidArgumentError

from catalog_svc.edits import CHANGEABLE, json_name
from catalog_svc.records import Forwarding, ServiceRecord

DRAFT = "draft"
PENDING_APPROVAL = "pending_approval"
ACTIVE = "active"
REJECTED = "rejected"

API = "api"
DOCKER = "docker"

CREATABLE_TYPES = frozenset({API, DOCKER})
_SUBMITTABLE = frozenset({DRAFT, REJECTED})
# Of a service that people rely on, only what changes neither its price nor where calls go.
_CHANGEABLE_WHEN_ACTIVE = frozenset(
    {"description", "documentation_url", "tags", "rate_limit_per_minute", "additional_info", "forwarding"}
)


def check_type(service_type: str) -> None:
    """Raises FailedPreconditionError service_type_not_available for a type that nobody can publish."""
    if service_type not in CREATABLE_TYPES:
        raise FailedPreconditionError(
            "service_type_not_available",
            "Services of this type can't be published. Choose an API or a Docker service.",
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
    """The fields that may be changed in the record's present state."""
    if record.status in _SUBMITTABLE:
        # A price that has been in force is followed by another one, and never edited.
        return CHANGEABLE if record.price_version_id is None else CHANGEABLE - {"price"}
    return _CHANGEABLE_WHEN_ACTIVE if record.status == ACTIVE else frozenset()


def is_submittable(record: ServiceRecord) -> bool:
    """Whether an admin may be asked to approve it, as soon as nothing is missing."""
    return record.status in _SUBMITTABLE


def check_changeable(record: ServiceRecord, fields: frozenset[str]) -> None:
    """Raises FailedPreconditionError service_not_editable, or service_field_locked when only some of
    `fields` can't be changed in the record's state."""
    changeable = changeable_fields(record)
    if not changeable:
        raise FailedPreconditionError(
            "service_not_editable", "A service can't be changed while it waits for approval or is suspended."
        )
    if locked := sorted(fields - changeable):
        raise FailedPreconditionError(
            "service_field_locked",
            f"An active service keeps its {', '.join(locked).replace('_', ' ')}.",
            [FieldViolation(json_name(field), "can't be changed while it is active") for field in locked],
        )


def submit(record: ServiceRecord, now: datetime) -> ServiceRecord:
    """The record waiting for approval. Raises FailedPreconditionError service_not_submittable or
    service_incomplete."""
    if not is_submittable(record):
        raise FailedPreconditionError(
            "service_not_submittable", "Only a draft or a rejected service can be submitted."
        )
    if record.type == API and not record.base_url:
        raise FailedPreconditionError(
            "service_incomplete",
            "An API service needs a base URL before it can be submitted.",
            [FieldViolation("baseUrl", "is required")],
        )
    # The old reason goes: the table lets only a rejected service have one.
    return replace(record, status=PENDING_APPROVAL, rejection_reason="", updated_at=now)


def approve(record: ServiceRecord, price_version_id: UUID, now: datetime) -> ServiceRecord:
    """The record active, its price the version `price_version_id`. Raises FailedPreconditionError
    service_not_pending."""
    _check_pending(record)
    return replace(record, status=ACTIVE, price_version_id=price_version_id, published_at=now, updated_at=now)


def reject(record: ServiceRecord, reason: str, now: datetime) -> ServiceRecord:
    """The record rejected, for its merchant to mend. Raises FailedPreconditionError service_not_pending."""
    _check_pending(record)
    return replace(record, status=REJECTED, rejection_reason=reason, updated_at=now)


def _check_pending(record: ServiceRecord) -> None:
    if record.status != PENDING_APPROVAL:
        raise FailedPreconditionError("service_not_pending", "This service doesn't wait for approval.")
