"""Invitations to private services. Pure: `now` is an argument."""

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ams_common.errors import NotFoundError

_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """A row of service_invitations, and how many have accepted it."""

    invitation_id: UUID
    service_id: UUID
    note: str
    max_uses: int
    uses: int
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


def is_open(invitation: Invitation, now: datetime) -> bool:
    """Whether somebody else can accept it."""
    return (
        invitation.revoked_at is None
        and now < invitation.expires_at
        and invitation.uses < invitation.max_uses
    )


def new_token() -> str:
    """What nobody can guess: it is all that accepting asks for."""
    return base64.urlsafe_b64encode(secrets.token_bytes(_TOKEN_BYTES)).decode().rstrip("=")


def token_hash(token: str) -> bytes:
    """What is stored of it: whoever reads the table can't accept anything."""
    return hashlib.sha256(token.encode()).digest()


def expiry(now: datetime, valid_days: int) -> datetime:
    return now + timedelta(days=valid_days)


def invitation_not_found() -> NotFoundError:
    """One error for what never was, is over and isn't the caller's."""
    return NotFoundError("invitation_not_found", "There is no such invitation, or it is over.")
