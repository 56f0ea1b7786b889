"""The rules of signing keys: when a new one is due, which one signs, which ones are published."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ams_common.tokens import ACCESS_TOKEN_TTL, SigningKey

ROTATION_AGE = timedelta(days=30)
# A key is published this long before it signs, so that every verifier and replica has it by then; and
# this long after its last token has expired, for clocks that differ.
HEAD_START = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class DatedKey:
    """A signing key, when it was made and when it starts to sign."""

    key: SigningKey
    created_at: datetime
    active_from: datetime


def is_new_key_due(keys: Sequence[DatedKey], now: datetime) -> bool:
    return all(now - dated.created_at >= ROTATION_AGE for dated in keys)


def active_from(keys: Sequence[DatedKey], now: datetime) -> datetime:
    """When a key that is made now starts to sign: at once if there is no other."""
    return now + HEAD_START if keys else now


def signing_key(keys: Sequence[DatedKey], now: datetime) -> SigningKey:
    """The newest that is active. `keys` in the order of `active_from`; the first signs if none is active
    yet, which only a clock that was set back can bring about."""
    active = [dated for dated in keys if dated.active_from <= now]
    return (active or keys[:1])[-1].key


def is_published(keys: Sequence[DatedKey], dated: DatedKey, now: datetime) -> bool:
    """Whether a token signed by `dated` may still be good, or will be."""
    successors = [other.active_from for other in keys if other.active_from > dated.active_from]
    return not successors or now < min(successors) + ACCESS_TOKEN_TTL + HEAD_START
