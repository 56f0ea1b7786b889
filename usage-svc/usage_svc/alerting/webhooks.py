"""Webhooks as the Standard Webhooks specification has them: secrets, signatures and retries. Pure, but for
the secrets' randomness."""

import base64
import hashlib
import hmac
import ipaddress
import secrets
from datetime import timedelta

from ams_common.addresses import is_forbidden

_PREFIX = "whsec_"
_SECRET_BYTES = 32
# After the first attempt, the second …: about a day in all.
_RETRIES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=8),
    timedelta(hours=8),
)
_LOCAL_NAMES = ("localhost", "localhost.localdomain")


def new_secret() -> str:
    """A secret in the form that its owner is told."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signature(secret: str, webhook_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of webhook-signature."""
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    digest = hmac.digest(key, f"{webhook_id}.{timestamp_s}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def retry_after(attempts: int) -> timedelta | None:
    """How long to wait after so many attempts that failed; None: it is given up."""
    return _RETRIES[attempts - 1] if attempts <= len(_RETRIES) else None


def is_refused_host(host: str) -> bool:
    """Whether the host of a URL says itself that it isn't public. Where a name leads is seen at each
    delivery: it may lead elsewhere by then."""
    name = host.lower().rstrip(".")
    if name in _LOCAL_NAMES or name.endswith(".localhost"):
        return True
    try:
        return is_forbidden(str(ipaddress.ip_address(name.partition("%")[0])))
    except ValueError:
        return False
