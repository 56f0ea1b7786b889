"""Email addresses and the names of people and companies."""

import string

from ams.identity.v1.identity_service_pb2 import StartSignInRequest
from ams_common.fields import violations

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def normalise_email(email: str) -> str:
    """One spelling per address: ASCII letters in lower case.

    Only ASCII: Unicode case mapping joins letters (K and the Kelvin sign) that mail servers keep apart,
    and so would give one person's account to another.
    """
    return email.strip().translate(_LOWER)


def is_address(email: str) -> bool:
    """Whether `email` is one by the contract's rules for StartSignInRequest."""
    return not violations(StartSignInRequest(email=email))


def trimmed(text: str) -> str:
    """`text` with its blanks trimmed and joined."""
    return " ".join(text.split())
