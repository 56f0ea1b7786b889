"""Entity tags, and whether a client has an answer already (RFC 9110 §8.8.3 and §13.1.2)."""

import re
from hashlib import sha256

_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e]*)"')
_HASH_CHARACTERS = 32


def etag_of(body: bytes) -> str:
    """The strong tag of an answer with these bytes."""
    return f'"{sha256(body).hexdigest()[:_HASH_CHARACTERS]}"'


def is_unchanged(if_none_match: str, etag: str) -> bool:
    """Whether the client has the answer already. Compared weakly, as If-None-Match is."""
    return if_none_match.strip() == "*" or etag.strip('"') in _TAG.findall(if_none_match)
