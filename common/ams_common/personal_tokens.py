"""The syntax of a personal access token, shared by identity-svc (which makes them) and the REST API.

`ams_pat_` + 8 visible characters + 32 secret characters + the checksum of API keys: what is mistyped or made
up is refused without any look-up, and whoever searches files for leaked secrets can tell one.
"""

import hashlib
import secrets
from dataclasses import dataclass, field

from ams_common.apikeys import ALPHABET, checksum

SCHEME = "ams_pat_"
_VISIBLE_LENGTH = len(SCHEME) + 8
_CHECKED_LENGTH = _VISIBLE_LENGTH + 32
_LENGTH = _CHECKED_LENGTH + 6


@dataclass(frozen=True, slots=True)
class NewToken:
    """A new token. `secret` is the whole of it and is shown once; only `sha256` is ever stored."""

    secret: str = field(repr=False)
    prefix: str
    sha256: bytes


def generate() -> NewToken:
    """The secret part has 190 bits."""
    body = SCHEME + "".join(secrets.choice(ALPHABET) for _ in range(_CHECKED_LENGTH - len(SCHEME)))
    text = body + checksum(body.encode("ascii")).decode("ascii")
    return NewToken(text, text[:_VISIBLE_LENGTH], hashlib.sha256(text.encode("ascii")).digest())


def hash_token(text: str) -> bytes | None:
    """The SHA-256 by which the token is known, or None for what can't be one (form or checksum)."""
    if len(text) != _LENGTH or not text.isascii() or not text.startswith(SCHEME):
        return None
    body = text.encode("ascii")
    if not body[len(SCHEME) :].isalnum() or body[_CHECKED_LENGTH:] != checksum(body[:_CHECKED_LENGTH]):
        return None
    return hashlib.sha256(body).digest()
