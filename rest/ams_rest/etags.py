"""Entity tags, and what clients ask with them (RFC 9110 §8.8.3, §13.1.1 and §13.1.2).

Which routes take If-Match follows from the contracts: those whose requests have a field `etag`.
"""

import re
from hashlib import sha256
from typing import Any

from ams_common.errors import InvalidArgumentError

_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e]*)"')
_HASH_CHARACTERS = 32
_LISTED = re.compile(r'[ \t]*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?:,|$)|[ \t]*(?:,|$)')
_OURS = re.compile(r'"([0-9a-f]+)"')
_MOST_TAGS = 20
# Is no resource's etag: what a request says whose header names tags, and none that can be one.
_NONE = "-"


def etag_of(body: bytes, document: dict[str, Any]) -> str:
    """The strong tag of an answer: what its resource says of itself in `etag`, else a digest of its bytes."""
    return f'"{document.get("etag") or sha256(body).hexdigest()[:_HASH_CHARACTERS]}"'


def is_unchanged(if_none_match: str, etag: str) -> bool:
    """Whether the client has the answer already. Compared weakly, as If-None-Match is."""
    return if_none_match.strip() == "*" or etag.strip('"') in _TAG.findall(if_none_match)


def wanted_etags(if_match: str) -> str:
    """What a request says in `etag` for a header: "" for "*", since the resource has to be there anyway; else
    those of the tags that can match, with commas between. A weak one never does, nor one that isn't of our
    making. Raises InvalidArgumentError if_match_invalid for what is no list of tags, or too long a one."""
    if if_match.strip() == "*":
        return ""
    tags: list[str] = []
    position = 0
    while position < len(if_match):
        matched = _LISTED.match(if_match, position)
        if matched is None or len(tags) > _MOST_TAGS:
            raise _invalid()
        tags += [matched[1]] if matched[1] else []
        position = matched.end()
    if not 0 < len(tags) <= _MOST_TAGS:
        raise _invalid()
    return ",".join(ours[1] for tag in tags if (ours := _OURS.fullmatch(tag)) is not None) or _NONE


def _invalid() -> InvalidArgumentError:
    return InvalidArgumentError(
        "if_match_invalid", f"If-Match has one to {_MOST_TAGS} ETags, each in quotes, or a star."
    )
