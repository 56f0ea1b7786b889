"""Grants: access to a service, from its approval until it ends."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams_common.errors import FailedPreconditionError, NotFoundError

from keys_svc.access_requests import CONSUMER

CLOSED = "The project was closed."


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A row of grants. `ended_by`: "consumer", "merchant" or "admin"; None while it is in force."""

    grant_id: UUID
    consumer_id: UUID
    project_id: UUID | None
    service_id: UUID
    merchant_id: UUID
    access_request_id: UUID
    granted_at: datetime
    ended_at: datetime | None = None
    ended_by: str | None = None
    end_reason: str = ""


def grant_not_found() -> NotFoundError:
    """The same for somebody else's as for none."""
    return NotFoundError("grant_not_found", "There is no such grant.")


def found(grant: Grant | None) -> Grant:
    """The grant. Raises NotFoundError for None."""
    if grant is None:
        raise grant_not_found()
    return grant


def require_in_force(grant: Grant) -> None:
    """Access ends once: raises FailedPreconditionError grant_ended."""
    if grant.ended_at is not None:
        by = "you" if grant.ended_by == CONSUMER else f"the {grant.ended_by}"
        raise FailedPreconditionError("grant_ended", f"This access was ended by {by} already.")
