"""How repositories, versions and digests are written. Pure."""

import hashlib
import re

from ams_common.formats import SLUG

MAX_NAME_LENGTH = 255

_NAME = re.compile(f"{SLUG.pattern}/{SLUG.pattern}(?:/{SLUG.pattern})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# semver.org 2.0.0, without build metadata: "+" can't stand in a tag.
_NUMBER = r"(?:0|[1-9][0-9]*)"
_PRE = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_PRE}(?:\.{_PRE})*)?")


def is_name(text: str) -> bool:
    """ "merchant/service" or "merchant/service/image", all of them slugs."""
    return len(text) <= MAX_NAME_LENGTH and _NAME.fullmatch(text) is not None


def repository_of(name: str) -> str:
    """The service's repository that an image's name lies in: its first two parts."""
    return "/".join(name.split("/")[:2])


def is_tag(text: str) -> bool:
    return _TAG.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def is_version(tag: str) -> bool:
    """Whether the tag is a semantic version, such as "1.4.0" or "2.0.0-rc.1"."""
    return _VERSION.fullmatch(tag) is not None


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
