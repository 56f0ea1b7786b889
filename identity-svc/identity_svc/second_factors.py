"""The rules of second factors: codes of authenticator apps, recovery codes, and how long a proof lasts."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

import pyotp

TTL = timedelta(minutes=10)
MAX_ATTEMPTS = 5
# For so long after a proof the factors may be changed.
RECENT = timedelta(minutes=10)
RECOVERY_CODES = 10

_STEP_S = 30
# Clocks of phones differ: the code of the step before and after is taken too.
_STEPS_AROUND = (0, -1, 1)
# Crockford's base32: nothing that is read wrongly.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_totp_secret() -> str:
    """160 bits in base32, as RFC 4226 wants."""
    return pyotp.random_base32()


def totp_uri(secret: str, email: str) -> str:
    """What authenticator apps read as a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name="AMS")


def totp_step(secret: str, code: str, now: datetime, last_step: int) -> int | None:
    """The time step that the code is of, if it is one that wasn't used; else None (RFC 6238, 5.2)."""
    digits = code.replace(" ", "")
    if len(digits) != 6 or not (digits.isascii() and digits.isdigit()):
        return None
    present = int(now.timestamp()) // _STEP_S
    app = pyotp.TOTP(secret)
    for step in (present + offset for offset in _STEPS_AROUND):
        if step > last_step and secrets.compare_digest(app.at(step * _STEP_S), digits):
            return step
    return None


def new_recovery_codes() -> Sequence[str]:
    """Each has 60 bits, in three groups of four characters."""
    return ["-".join(_group() for _ in range(3)) for _ in range(RECOVERY_CODES)]


def _group() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(4))


def clean_recovery_code(text: str) -> str:
    """A code as it was shown, however it was typed; what is read wrongly is taken as what was meant."""
    plain = "".join(text.upper().split()).replace("-", "").translate(str.maketrans("OIL", "011"))
    return "-".join(plain[start : start + 4] for start in range(0, len(plain), 4))


def is_recent(proven_at: datetime | None, now: datetime) -> bool:
    """Whether a proof is so young that factors may be changed."""
    return proven_at is not None and now - proven_at < RECENT
