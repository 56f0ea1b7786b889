"""Slugs of merchants: made from the company's name, in addresses for good."""

import re
import secrets
import unicodedata
from collections.abc import Iterator

_MAX_LENGTH = 40
_NUMBERED = 9


def base_slug(company_name: str) -> str:
    """Lower-case ASCII letters, digits and single hyphens; "merchant" when nothing of the name remains."""
    ascii_text = unicodedata.normalize("NFKD", company_name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")[:_MAX_LENGTH].strip("-")
    return slug or "merchant"


def candidates(company_name: str) -> Iterator[str]:
    """Slugs to try, the nicest first, without end."""
    base = base_slug(company_name)
    yield base
    yield from (f"{base}-{number}" for number in range(2, _NUMBERED + 1))
    while True:
        yield f"{base}-{secrets.token_hex(4)}"
