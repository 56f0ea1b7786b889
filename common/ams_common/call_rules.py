"""Which calls a key may make to a service, by method and path: the owner's restriction of its own key. Pure.

A rule is a set of methods (none: any; GET stands for HEAD too) and a path of the service:

    /v1/forecast    this path alone, without what stands below it
    /v1/*           all below /v1/, and /v1/ itself; not /v1

Paths are compared as bytes after their percent-encoding is undone once; upper and lower case differ, and a
trailing slash makes another path. A call without a path is one to "/". The query doesn't matter.

Servers read paths differently, so what two of them could read as different paths fits no rule: empty, "."
and ".." segments (with or without ";parameters"), a backslash, an encoded slash, what is still encoded after
it was decoded once, control characters, and what isn't UTF-8.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

MAX_PATH_LENGTH = 200
_METHOD = re.compile(r"[A-Z]{1,20}")
_ENCODED = re.compile(rb"%[0-9A-Fa-f]{2}")
_BROKEN_ENCODING = re.compile(rb"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class CallRule:
    """`path` as the owner wrote it, the wildcard with it."""

    methods: frozenset[str]
    path: str

    def fits(self, method: str, path: bytes) -> bool:
        """`path`: as `plain_path` gives it."""
        if self.methods and method not in self.methods and not (method == "HEAD" and "GET" in self.methods):
            return False
        wanted = self.path.encode()
        return path.startswith(wanted[:-1]) if self.path.endswith("/*") else path == wanted


def rule_problem(methods: Sequence[str], path: str) -> str | None:
    """What is wrong with a rule that somebody wants, as the end of a sentence; None for a good one."""
    for method in methods:
        if not _METHOD.fullmatch(method):
            return f"“{method[:20]}” isn't an HTTP method"
    if len(set(methods)) < len(methods):
        return "names a method twice"
    if not path.startswith("/"):
        return "must begin with a slash"
    if len(path) > MAX_PATH_LENGTH:
        return f"must have {MAX_PATH_LENGTH} characters at most"
    if any(letter in path for letter in "?#%"):
        return "is a path alone, as it reads without encoding"
    if "*" in path.removesuffix("/*"):
        return "may have a * only as its last part: /v1/*"
    if plain_path(path.removesuffix("*").encode()) is None:
        return "has an empty part, “.”, “..”, a backslash or a control character"
    return None


def may_call(rules: Iterable[CallRule], method: str, path: bytes | None) -> bool:
    """Whether one of the rules fits a call. `path`: as it came, encoded; None: the call names none."""
    plain = plain_path(b"/" if path is None else path)
    return plain is not None and any(rule.fits(method, plain) for rule in rules)


def plain_path(path: bytes) -> bytes | None:
    """The path without its encoding; None for one that servers could read differently."""
    if _BROKEN_ENCODING.search(path):
        return None
    # Slashes and backslashes that were encoded would split other segments than those that are seen here.
    segments = [unquote_to_bytes(segment) for segment in path.split(b"/")]
    if any(b"/" in segment or b"\\" in segment for segment in segments):
        return None
    plain = b"/".join(segments)
    if _ENCODED.search(plain) or any(byte < 0x20 or byte == 0x7F for byte in plain) or not _is_utf8(plain):
        return None
    # The first is what stands before the first slash; the last may be empty, after a trailing one.
    if len(segments) < 2 or segments[0] or any(_is_odd(segment) for segment in segments[1:-1]):
        return None
    last = segments[-1]
    return None if last and _is_odd(last) else plain


def _is_odd(segment: bytes) -> bool:
    return segment.split(b";", 1)[0] in (b"", b".", b"..")


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
