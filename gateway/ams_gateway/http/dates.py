"""The Date field (RFC 9110 §6.6.1)."""

import time
from email.utils import formatdate
from functools import lru_cache


def http_date() -> bytes:
    """Now."""
    return _format(int(time.time()))


@lru_cache(2)
def _format(now_s: int) -> bytes:
    return formatdate(now_s, usegmt=True).encode("ascii")
