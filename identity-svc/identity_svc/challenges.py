"""The rules of one-time codes: how they are made, and how many may be asked for."""

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

TTL = timedelta(minutes=10)
MAX_ATTEMPTS = 5

# How many unproven challenges an address may have within a time, known or not. Together with
# MAX_ATTEMPTS the longer one bounds guessing: 150 of a million codes a day.
LIMITS = ((timedelta(minutes=15), 5), (timedelta(days=1), 30))
LONGEST_WINDOW = max(window for window, _ in LIMITS)


class Purpose(StrEnum):
    """What happens when the code of a challenge is given back."""

    SIGN_IN = "sign_in"
    REGISTER_CONSUMER = "register_consumer"
    REGISTER_MERCHANT = "register_merchant"


def new_code() -> str:
    return f"{secrets.randbelow(1_000_000):06}"


def clean_code(text: str) -> str:
    """A code as it was mailed, however its digits were grouped when typed."""
    return text.replace(" ", "").replace("-", "")


def wait_before_next(open_since: Iterable[datetime], now: datetime) -> timedelta | None:
    """How long an address has to wait for its next code, or None when it may have one now.

    `open_since`: when its unproven challenges of LONGEST_WINDOW were made.
    """
    moments = sorted(open_since, reverse=True)
    waits = [
        moments[limit - 1] + window - now
        for window, limit in LIMITS
        if len(moments) >= limit and moments[limit - 1] > now - window
    ]
    return max(waits, default=None)
