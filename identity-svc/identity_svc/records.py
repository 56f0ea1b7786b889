"""Rows, as the store gives them. Columns are those of the query that a row comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ams.identity.v1.identity_service_pb2 import (
    INVITE_ACCEPTED,
    INVITE_EXPIRED,
    INVITE_OPEN,
    INVITE_REVOKED,
    InviteState,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user, with the roles in which they may act now; a standing is None without its role."""

    user_id: UUID
    email: str
    name: str
    created_at: datetime
    roles: Sequence[str]
    merchant_standing: str | None
    consumer_standing: str | None
    merchant_standing_since: datetime | None
    consumer_standing_since: datetime | None
    token_generation: int
    picture_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Invite:
    """An invite to `role`, "merchant" or "admin"; `sent_at` is when its present code was mailed."""

    invite_id: UUID
    role: str
    email: str
    note: str
    created_at: datetime
    sent_at: datetime
    expires_at: datetime
    accepted_at: datetime | None
    revoked_at: datetime | None

    def state(self, now: datetime) -> InviteState.ValueType:
        """What has become of it. An accepted or revoked one doesn't expire."""
        if self.accepted_at is not None:
            return INVITE_ACCEPTED
        if self.revoked_at is not None:
            return INVITE_REVOKED
        return INVITE_OPEN if now < self.expires_at else INVITE_EXPIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """A mailed code that waits to be given back; `purpose` is one of challenges.Purpose."""

    challenge_id: UUID
    purpose: str
    email: str
    code_hash: bytes
    name: str | None
    company_name: str | None
    invite_id: UUID | None
    # Null for one of before there were codes.
    code_id: UUID | None
    spent_keys: Sequence[bytes]
    spent_refills: Sequence[timedelta]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCode:
    """A mailed code that is still good."""

    code_id: UUID
    sealed_code: bytes
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SpentAllowance:
    """An allowance of which something was just used up: when all of it is there again."""

    allowance_key: bytes
    full_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session as one of its refresh tokens finds it; `used_at` is the token's."""

    session_id: UUID
    user_id: UUID
    active_role: str | None
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    used_at: datetime | None
    second_factor_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSession:
    """A session that hasn't ended, as its person sees it."""

    session_id: UUID
    device: str
    client_address: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodToken:
    """A personal access token that is neither revoked nor expired."""

    token_id: UUID
    user_id: UUID
    role: str
    is_read_only: bool
    expires_at: datetime
    last_used_at: datetime | None
    second_factor_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPasskey:
    """The public half of a passkey; `sign_count` is what its authenticator last said."""

    passkey_id: UUID
    name: str
    credential_id: bytes
    public_key: bytes
    sign_count: int
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totp:
    """An authenticator app's secret, which only the vault opens."""

    sealed_secret: bytes
    confirmed_at: datetime | None
    last_step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """How many second factors somebody has, and recovery codes that aren't used."""

    passkeys: int
    has_totp: bool
    recovery_codes: int

    @property
    def has_any(self) -> bool:
        return self.passkeys > 0 or self.has_totp


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorChallenge:
    """A second factor that is asked for, or a passkey that is being made."""

    challenge_id: UUID
    user_id: UUID
    active_role: str | None
    webauthn_challenge: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedKey:
    """A signing key whose private half only the vault opens."""

    key_id: str
    sealed_private_key: bytes
    created_at: datetime
    active_from: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A queued mail; `attempts` counts the one that is being made."""

    mail_id: UUID
    recipient: str
    template: str
    sealed_values: bytes
    attempts: int
    give_up_at: datetime


@dataclass(frozen=True, slots=True)
class WaitingMails:
    """How many mails are queued, and when the oldest of them was; None where none is."""

    waiting: int
    oldest_at: datetime | None
