"""Slugs: a service's readable name in URLs and headers, taken from its name once and kept.

An id and a slug are told apart by their looks, so no slug may look like an id.
"""

import re
import unicodedata
from uuid import UUID

from ams_common import formats

# The column takes 80: "service-" and the longest ending have room.
_MAX_LENGTH = 56
_NOT_PLAIN = re.compile(r"[^a-z0-9]+")
_LIKE_AN_ID = re.compile(r"[0-9a-f]{32}")


def slug_candidates(name: str, service_id: UUID) -> list[str]:
    """Slugs to try in turn: the name's own, then with more and more of the id's random end."""
    stem = _stem(name)
    endings = ["", f"-{service_id.hex[-6:]}", f"-{service_id.hex[-12:]}"]
    return [_unlike_an_id(stem + ending) for ending in endings]


def service_id_in(text: str) -> UUID | None:
    """The id that `text` is, or None when it can only be a slug."""
    return UUID(text) if formats.UUID.fullmatch(text) else None


def _stem(name: str) -> str:
    # "Café" becomes "cafe": NFKD sets accents apart, and ASCII leaves them out.
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return _NOT_PLAIN.sub("-", plain).strip("-")[:_MAX_LENGTH].rstrip("-") or "service"


def _unlike_an_id(slug: str) -> str:
    return f"service-{slug}" if _LIKE_AN_ID.fullmatch(slug.replace("-", "")) else slug
