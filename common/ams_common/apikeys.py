"""The syntax of an API key, shared by keys-svc (which makes keys) and the gateway (which reads them).

`ams_live_` (`ams_test_` for a test key) + 8 visible characters + 32 secret characters + 6 characters of
CRC-32 over all before them, in base62. The secret part alone has 190 bits. The checksum lets a mistyped or
made-up key be refused without any look-up; it is no protection by itself.
"""

import hashlib
import secrets
import zlib
from dataclasses import dataclass, field

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LIVE_SCHEME = "ams_live_"
TEST_SCHEME = "ams_test_"  # as long as the other: a key has one length, whatever its kind
SCHEME_LENGTH = len(LIVE_SCHEME)
VISIBLE_LENGTH = SCHEME_LENGTH + 8
CHECKED_LENGTH = VISIBLE_LENGTH + 32
KEY_LENGTH = CHECKED_LENGTH + 6

_SCHEMES = (LIVE_SCHEME.encode("ascii"), TEST_SCHEME.encode("ascii"))

# Two digits at a time: this runs on every request of the gateway.
_PAIRS = [(high + low).encode("ascii") for high in ALPHABET for low in ALPHABET]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A new key. `secret` is the whole key and is shown once; only `sha256` is ever stored."""

    secret: str = field(repr=False)
    prefix: str
    sha256: bytes


def generate(*, is_test: bool = False) -> ApiKey:
    scheme = TEST_SCHEME if is_test else LIVE_SCHEME
    body = scheme + "".join(secrets.choice(ALPHABET) for _ in range(CHECKED_LENGTH - SCHEME_LENGTH))
    text = body + checksum(body.encode("ascii")).decode("ascii")
    return ApiKey(text, text[:VISIBLE_LENGTH], hashlib.sha256(text.encode("ascii")).digest())


def hash_key(text: str | bytes) -> bytes | None:
    """The SHA-256 by which the key is known, or None for what can't be a key (form or checksum)."""
    if len(text) != KEY_LENGTH:
        return None
    if isinstance(text, str):
        if not text.isascii():
            return None
        text = text.encode("ascii")
    # A matching checksum of base62 characters proves nothing about the characters before it.
    if not text.startswith(_SCHEMES) or not text[SCHEME_LENGTH:].isalnum():
        return None
    if text[CHECKED_LENGTH:] != checksum(text[:CHECKED_LENGTH]):
        return None
    return hashlib.sha256(text).digest()


def checksum(body: bytes) -> bytes:
    """CRC-32 of what stands before it, in six digits of base62."""
    number, low = divmod(zlib.crc32(body), 3844)
    high, middle = divmod(number, 3844)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]
