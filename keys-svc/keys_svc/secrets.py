"""The secrets of a key: the present one, and those that it replaced."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ams_common.errors import FailedPreconditionError

LONGEST_OVERLAP = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Secret:
    """One that opens what its key opens, until `expires_at`."""

    key_hash: bytes
    key_prefix: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class PreviousSecret:
    """A row of previous_secrets."""

    key_hash: bytes
    key_prefix: str
    ends_at: datetime

    def bounded(self, key_expires_at: datetime) -> Secret:
        """As a secret: no key outlives itself by what it replaced."""
        return Secret(self.key_hash, self.key_prefix, min(self.ends_at, key_expires_at))


def previous_in(row: Mapping[str, Any]) -> Sequence[PreviousSecret]:
    """Those in a row of keys."""
    return [
        PreviousSecret(
            bytes.fromhex(each["key_hash"]), each["key_prefix"], datetime.fromisoformat(each["ends_at"])
        )
        for each in json.loads(row["previous"])
    ]


def require_overlap(previous: Sequence[PreviousSecret], now: datetime) -> None:
    """Raises FailedPreconditionError where no secret but the present one works."""
    if all(each.ends_at <= now for each in previous):
        raise FailedPreconditionError("no_previous_secret", "No earlier secret of this key works any more.")
