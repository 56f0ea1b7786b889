"""The rules of access requests (PRD-9)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.keys.v1 import keys_service_pb2 as pb
from ams_common.access import service_problem
from ams_common.errors import FailedPreconditionError, NotFoundError

# A status in the database is its name in the contract, in lower case.
PENDING, APPROVED, DENIED, WITHDRAWN = "pending", "approved", "denied", "withdrawn"
# Who decided or ended something.
CONSUMER, MERCHANT, ADMIN = "consumer", "merchant", "admin"

PARTIES: Mapping[str | None, pb.AccessParty.ValueType] = {
    CONSUMER: pb.BY_CONSUMER,
    MERCHANT: pb.BY_MERCHANT,
    ADMIN: pb.BY_ADMIN,
    None: pb.ACCESS_PARTY_UNSPECIFIED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """A row of access_requests; `note` is the consumer's, `reason` that of the `resolver`, who decided."""

    access_request_id: UUID
    consumer_id: UUID
    project_id: UUID | None
    service_id: UUID
    merchant_id: UUID
    status: str
    note: str
    reason: str
    requested_at: datetime
    requested_by: UUID
    resolved_at: datetime | None = None
    resolver: str | None = None
    # Of the grant that an approved one gave.
    grant_id: UUID | None = None
    ended_at: datetime | None = None
    ended_by: str | None = None
    end_reason: str = ""


def is_open(service: ServiceSnapshot) -> bool:
    """Whether consumers may ask for this service: approved, of a merchant in good standing."""
    return service_problem(service.status, service.merchant_standing) is None


def found(request: AccessRequest | None) -> AccessRequest:
    """The request. Raises NotFoundError for None, the same for somebody else's."""
    if request is None:
        raise NotFoundError("access_request_not_found", "There is no such access request.")
    return request


def require_pending(request: AccessRequest) -> None:
    """A decision is made once: raises FailedPreconditionError when there is one."""
    if request.status != PENDING:
        raise FailedPreconditionError(
            "access_request_not_pending", f"This access request is {request.status} already."
        )


def status_filter(status: pb.AccessRequestStatus.ValueType) -> str | None:
    """A status as the table has it; None for the unspecified, which means all."""
    return pb.AccessRequestStatus.Name(status).lower() if status else None


def status_value(status: str) -> pb.AccessRequestStatus.ValueType:
    """A table's status as the contract has it."""
    return pb.AccessRequestStatus.Value(status.upper())
