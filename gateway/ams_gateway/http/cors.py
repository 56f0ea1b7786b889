"""Browsers' calls from other origins' pages: the CORS protocol (WHATWG Fetch §3.3), answered by the gateway.

A service names the origins whose pages may call it. The upstream has no say: its `Access-Control-*` fields
are dropped (`forwarding_fields`), and it sees no `Origin`. A preflight carries no API key, so it is answered
for anybody, forwarded nowhere and metered to nobody. Refusals carry the same fields as answers, or a page
couldn't read why it was refused.
"""

import re
from collections.abc import Iterable

from ams_gateway.http.problems import Header

ANY = b"*"
# Chromium keeps a preflight's answer no longer.
_MAX_AGE_S = 7200
# `*` shows a page all of the upstream's fields too, but means nothing where credentials pass: there, ours.
_EXPOSED = (
    b"*, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id, X-AMS-Cost-Estimate, X-AMS-Month-Estimate"
)
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_METHOD = re.compile(_TOKEN)
_NAMES = re.compile(rb"[ \t]*%b(?:[ \t]*,[ \t]*%b)*[ \t]*" % (_TOKEN, _TOKEN))
_MAX_NAMES_BYTES = 4096
_VARY: Header = (b"vary", b"Origin")
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}


class CorsPolicy:
    """Which pages may call a service. Made once for a service's snapshot; what it answers is made then
    too."""

    __slots__ = ("_allows_any", "_answers", "_origins", "_passes_cookies")

    def __init__(self, origins: Iterable[str], *, passes_cookies: bool) -> None:
        """`origins` as a merchant sets them: `https://app.example.com`, or `*` for any."""
        # Browsers write a host in other letters in its ASCII form: no other can be met.
        known = {_serialise(origin.encode("ascii")) for origin in origins if origin.isascii()}
        self._allows_any = ANY in known
        # Sandboxed pages and files of anybody's have this one.
        self._origins = frozenset(known - {ANY, b"null"})
        self._passes_cookies = passes_cookies
        self._answers = {origin: self._fields(origin) for origin in self._origins}

    def answer(self, origin: bytes | None) -> list[Header]:
        """What every answer of the service carries, refusals included; `origin` is the request's, if any. The
        list is shared: it must not be changed."""
        if not self._origins:
            # The same for all, so that caches need not tell origins apart.
            return _ANY_ANSWER if self._allows_any else _NO_ANSWER
        if origin is not None:
            if (answer := self._answers.get(origin)) is not None:
                return answer
            if self._allows_any:
                return _ANY_VARIED
        # A cache must not give this to a page that is allowed more.
        return _VARIED

    def preflight(
        self, origin: bytes, requested_method: bytes, requested_headers: bytes | None
    ) -> list[Header] | None:
        """What a preflight's 204 carries. None: the page may not make that call."""
        if origin not in self._origins and not self._allows_any:
            return None
        if not _METHOD.fullmatch(requested_method):
            return None
        fields = [
            *(field for field in self.answer(origin) if field[0] not in _OF_ANSWERS_ONLY),
            # What is asked for is what is allowed: a service is called by any method and with any fields.
            (b"access-control-allow-methods", requested_method),
            (b"access-control-max-age", b"%d" % _MAX_AGE_S),
            (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
        ]
        if requested_headers:
            if len(requested_headers) > _MAX_NAMES_BYTES or not _NAMES.fullmatch(requested_headers):
                return None
            # Not "*", which leaves Authorization out.
            fields.append((b"access-control-allow-headers", requested_headers))
        return fields

    def _fields(self, origin: bytes) -> list[Header]:
        fields = [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            _VARY,
        ]
        if self._passes_cookies:
            # Only ever beside an origin that the merchant has named.
            fields.append((b"access-control-allow-credentials", b"true"))
        return fields


_OF_ANSWERS_ONLY = frozenset((b"vary", b"access-control-expose-headers"))
_NO_ANSWER: list[Header] = []
_VARIED: list[Header] = [_VARY]
_ANY_ANSWER: list[Header] = [
    (b"access-control-allow-origin", ANY),
    (b"access-control-expose-headers", _EXPOSED),
]
_ANY_VARIED: list[Header] = [*_ANY_ANSWER, _VARY]


def is_preflight(method: str, origin: bytes | None, requested_method: bytes | None) -> bool:
    """Any other OPTIONS is a call like all others, with a key."""
    return method == "OPTIONS" and origin is not None and requested_method is not None


def _serialise(origin: bytes) -> bytes:
    """As browsers write an origin: lower case, without its scheme's own port or a slash."""
    origin = origin.strip().lower().rstrip(b"/")
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition(b":")[0], b""))
