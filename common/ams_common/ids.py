"""Ids: UUID version 7 (RFC 9562), so that they sort by the time they were made."""

import secrets
import time
from uuid import UUID

_VERSION = 0x7 << 76
_VARIANT = 0x2 << 62


def uuid_or_none(text: str) -> UUID | None:
    """The id that a message's field holds; None for "". Raises ValueError for what is no UUID."""
    return UUID(text) if text else None


def uuid7() -> UUID:
    """A new id: 48 bits of Unix milliseconds, 74 random bits."""
    random_bits = secrets.randbits(74)
    timestamp_ms = time.time_ns() // 1_000_000
    return UUID(
        int=(timestamp_ms & (2**48 - 1)) << 80
        | _VERSION
        | (random_bits >> 62) << 64
        | _VARIANT
        | random_bits & (2**62 - 1)
    )
