"""Invite codes: 100 random bits in Crockford's base32, which has no letters that look alike."""

import secrets
from datetime import timedelta

from ams_common.errors import FailedPreconditionError

from identity_svc.records import Invite
from identity_svc.vault import token_hash

TTL = timedelta(days=14)

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LOOKALIKES = str.maketrans("OIL", "011")
_GROUPS = 5


def new_code() -> str:
    """A code as it is mailed, such as "7K2M-Q9TD-0XVA-3HJC-PW5E"."""
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(_GROUPS))
    return "-".join(groups)


def require_revocable(invite: Invite) -> None:
    """Raises FailedPreconditionError. An expired one may be revoked: it can't be sent again then."""
    if invite.accepted_at is not None:
        raise FailedPreconditionError("invite_accepted", "This invite was accepted already.")
    if invite.revoked_at is not None:
        raise FailedPreconditionError("invite_revoked", "This invite was revoked already.")


def require_renewable(invite: Invite) -> None:
    """Raises FailedPreconditionError. An expired one may be sent again."""
    if invite.accepted_at is not None:
        raise FailedPreconditionError("invite_accepted", "This invite was accepted already.")
    if invite.revoked_at is not None:
        raise FailedPreconditionError("invite_revoked", "This invite was revoked. Make a new one.")


def not_valid() -> FailedPreconditionError:
    """One answer for a wrong, expired, used or revoked code, and one that is meant for another address."""
    return FailedPreconditionError("invite_not_valid", "This invite is not valid for this address.")


def code_hash(code: str) -> bytes:
    """The 32 bytes by which a code is known, the same however it was typed: lower case, without hyphens,
    O for 0."""
    plain = "".join(c for c in code.upper() if c not in "- \t").translate(_LOOKALIKES)
    return token_hash(plain)
