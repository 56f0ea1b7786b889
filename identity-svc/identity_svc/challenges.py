"""The rules of one-time codes: how they are made, and how long one is sent again."""

import secrets
from datetime import datetime, timedelta
from enum import StrEnum

TTL = timedelta(minutes=10)
MAX_ATTEMPTS = 5
# Kept for a while, so that the answer to one that is over stays the same.
KEPT = timedelta(days=1)
# A code is mailed again while it is good for at least so long; and asked for without a further mail.
MAILED_AGAIN_WITH = timedelta(minutes=5)
ASKED_AGAIN_WITH = timedelta(minutes=2)


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


def whole_minutes_left(expires_at: datetime, now: datetime) -> int:
    """How long a code is good, as its mail says; at least one minute."""
    return max(1, (expires_at - now) // timedelta(minutes=1))
