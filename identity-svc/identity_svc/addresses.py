"""Email addresses and the names of people and companies."""

import string
import unicodedata

from ams.identity.v1.identity_service_pb2 import StartSignInRequest
from ams_common.errors import FieldViolation, InvalidArgumentError
from ams_common.fields import violations

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

# Line and paragraph separators; what turns the direction of writing and so disguises a name.
_DISGUISES = frozenset("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def normalise_email(email: str) -> str:
    """One spelling per address: ASCII letters in lower case.

    Only ASCII: Unicode case mapping joins letters (K and the Kelvin sign) that mail servers keep apart,
    and so would give one person's account to another.
    """
    return email.strip().translate(_LOWER)


def is_address(email: str) -> bool:
    """Whether `email` is one by the contract's rules for StartSignInRequest."""
    return not violations(StartSignInRequest(email=email))


def one_line(field: str, text: str) -> str:
    """`text` with its blanks trimmed and joined. Raises InvalidArgumentError when it has more than one line
    or hides what it says."""
    if any(unicodedata.category(c) == "Cc" or c in _DISGUISES for c in text):
        violation = FieldViolation(field, "must be one line of plain text")
        raise InvalidArgumentError(
            "invalid_argument", f"{field} must be one line of plain text.", [violation]
        )
    return " ".join(text.split())
