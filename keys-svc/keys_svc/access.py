"""The rules of access requests (PRD §9 "Access Request")."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams.catalog.v1.events_pb2 import ACTIVE, ServiceSnapshot
from ams.identity.v1.events_pb2 import STANDING_ACTIVE
from ams.keys.v1 import keys_service_pb2 as pb
from ams_common.clock import to_timestamp
from ams_common.errors import FailedPreconditionError

# How a status stands in the database.
PENDING, APPROVED, DENIED = "pending", "approved", "denied"

_STATUS_IN_TABLE = {pb.PENDING: PENDING, pb.APPROVED: APPROVED, pb.DENIED: DENIED}
_STATUS_ON_WIRE = {text: status for status, text in _STATUS_IN_TABLE.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """A row of access_requests."""

    access_request_id: UUID
    consumer_id: UUID
    service_id: UUID
    merchant_id: UUID
    status: str
    note: str
    reason: str
    requested_at: datetime
    resolved_at: datetime | None = None


def is_open(service: ServiceSnapshot) -> bool:
    """Whether consumers may ask for this service: approved, of a merchant in good standing."""
    return service.status == ACTIVE and service.merchant_standing == STANDING_ACTIVE


def require_pending(request: AccessRequest) -> None:
    """Raises FailedPreconditionError: a decision is made once."""
    if request.status != PENDING:
        raise FailedPreconditionError(
            "access_request_not_pending", f"This access request is {request.status} already."
        )


def status_filter(status: pb.AccessRequestStatus.ValueType) -> str | None:
    """A status as the table has it; None for the unspecified, which means all."""
    return _STATUS_IN_TABLE.get(status)


def access_request_message(request: AccessRequest) -> pb.AccessRequest:
    return pb.AccessRequest(
        access_request_id=str(request.access_request_id),
        consumer_id=str(request.consumer_id),
        service_id=str(request.service_id),
        status=_STATUS_ON_WIRE[request.status],
        note=request.note,
        reason=request.reason,
        requested_at=to_timestamp(request.requested_at),
        resolved_at=to_timestamp(request.resolved_at),
    )
