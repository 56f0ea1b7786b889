"""Entity tags and what is asked with them (RFC 9110 §8.8.3 and §13.1)."""

import re
from hashlib import sha256

from ams_common.errors import InvalidArgumentError

_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e]*)"')
_STRONG = re.compile(r'"([\x21\x23-\x7e]*)\.[0-9a-f]+"')
_HASH_CHARACTERS = 32


def etag_of(body: bytes, version: str) -> str:
    """The strong tag of an answer. `version` is what its resource says of itself in `etag`, "" where it
    doesn't: it stands in front, so that a tag tells both which bytes it is of and which version."""
    return f'"{version}{"." if version else ""}{sha256(body).hexdigest()[:_HASH_CHARACTERS]}"'


def is_unchanged(if_none_match: str, etag: str) -> bool:
    """Whether the client has the answer already. Compared weakly, as If-None-Match is."""
    return if_none_match.strip() == "*" or etag.strip('"') in _TAG.findall(if_none_match)


def version_of(if_match: str) -> str:
    """The version that a change is meant for; "" for "*", which is no condition, since the resource has to be
    there anyway. Raises InvalidArgumentError etag_invalid for what is no single tag of a resource with
    versions."""
    if if_match.strip() == "*":
        return ""
    matched = _STRONG.fullmatch(if_match.strip())
    if matched is None:
        raise InvalidArgumentError(
            "etag_invalid", "Send the one ETag that the resource came with in If-Match."
        )
    return matched[1]
