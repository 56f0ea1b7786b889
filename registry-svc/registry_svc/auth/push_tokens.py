"""The rules of push tokens. Pure but for randomness."""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ams.registry.v1 import registry_service_pb2 as pb
from ams_common.apikeys import ALPHABET
from ams_common.errors import FailedPreconditionError

from registry_svc.storage.rows import PushToken

SCHEME = "ams_push_"
DEFAULT_TTL_HOURS = 24
MAX_ACTIVE_TOKENS = 50

_VISIBLE = len(SCHEME) + 8
_SECRET_LENGTH = 40
_FORM = re.compile(rf"{SCHEME}[0-9A-Za-z]{{{_SECRET_LENGTH}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token as it is shown once; only `sha256` is ever stored."""

    secret: str = field(repr=False)
    prefix: str
    sha256: bytes


def generate() -> NewToken:
    text = SCHEME + "".join(secrets.choice(ALPHABET) for _ in range(_SECRET_LENGTH))
    return NewToken(text, text[:_VISIBLE], hashlib.sha256(text.encode()).digest())


def hash_token(text: str) -> bytes | None:
    """The SHA-256 by which the token is known, or None for what can't be one."""
    # A fast hash will do: 40 random characters can't be guessed, unlike a password.
    return hashlib.sha256(text.encode()).digest() if _FORM.fullmatch(text) else None


def expiry(now: datetime, ttl_hours: int) -> datetime:
    return now + timedelta(hours=ttl_hours or DEFAULT_TTL_HOURS)


def status_of(token: PushToken, now: datetime) -> pb.PushTokenStatus.ValueType:
    """Revoked stays revoked though the token would have expired since; at expires_at it is expired."""
    if token.revoked_at is not None:
        return pb.PUSH_TOKEN_REVOKED
    return pb.PUSH_TOKEN_EXPIRED if token.expires_at <= now else pb.PUSH_TOKEN_ACTIVE


def require_below_limit(active_tokens: int) -> None:
    """Raises FailedPreconditionError when one more active token would be too many."""
    if active_tokens >= MAX_ACTIVE_TOKENS:
        raise FailedPreconditionError(
            "push_token_limit_reached",
            f"This service has {MAX_ACTIVE_TOKENS} active push tokens. Revoke one to create another.",
        )


def require_unrevoked(token: PushToken) -> None:
    """Raises FailedPreconditionError: revoking is for good and done once."""
    if token.revoked_at is not None:
        raise FailedPreconditionError("push_token_already_revoked", "This push token is revoked already.")
