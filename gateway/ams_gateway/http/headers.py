"""A request's head: read once, checked, and written anew for the merchant's API.

RFC 9110 §7.6 (hop-by-hop fields, Via), RFC 9112 §6 (framing), W3C Trace Context.
"""

import re
from collections.abc import Iterable

from ams_gateway.http import problems
from ams_gateway.http.problems import Header, Problem

_PSEUDONYM = b"ams-gateway"
VIA = b"1.1 " + _PSEUDONYM

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=:-]{1,128}")
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")

_KEPT_TOKENS = frozenset((b"keep-alive", b"close"))

# Never passed on; those that Connection names come on top.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
# Read by the gateway and written anew, or dropped.
_OWN = HOP_BY_HOP | {
    b"host",
    b"authorization",
    b"x-api-key",
    b"content-length",
    b"expect",
    b"via",
    b"x-request-id",
    b"traceparent",
}
_SINGLE = frozenset((b"host", b"authorization", b"x-api-key", b"content-length", b"transfer-encoding"))


class RequestHeaders:
    """What the gateway needs of a request's headers. `lines` are the fields that go on as they are. Nothing
    is changed once it is read: several requests may share it."""

    __slots__ = ("content_length", "has_body", "key", "lines", "request_id", "service", "trace", "via")

    def __init__(self) -> None:
        self.key: bytes | None = None
        self.service: bytes | None = None
        self.lines: list[bytes] = []
        # None: no length was given; then a body is chunked.
        self.content_length: int | None = None
        self.has_body = False
        self.request_id: bytes | None = None
        self.trace: bytes | None = None
        self.via: bytes | None = None


class Request:
    """What an entry has read. `path` None: the base URL itself. `service` None: none was named."""

    __slots__ = ("headers", "method", "path", "query", "service")

    def __init__(
        self, method: str, service: str | None, path: bytes | None, query: bytes, headers: RequestHeaders
    ) -> None:
        self.method = method
        self.service = service
        self.path = path
        self.query = query
        self.headers = headers


def parse_headers(headers: Iterable[Header], max_bytes: int) -> RequestHeaders | Problem:
    """Names must be in lower case. The first thing wrong is the answer. `max_bytes` holds for all that
    a sender can make long: the lines that go on, and the values that are read here."""
    parsed = RequestHeaders()
    lines = parsed.lines
    own: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _OWN:
            if name in own:
                if name in _SINGLE:
                    return problems.HEADER_DUPLICATE
                value = own[name] + b", " + value
            own[name] = value
        elif name.startswith(b"x-ams-"):
            if name == b"x-ams-service":
                if parsed.service is not None:
                    return problems.HEADER_DUPLICATE
                parsed.service = value
        else:
            lines.append(b"%b: %b\r\n" % (name, value))
    if sum(map(len, lines)) + sum(map(len, own.values())) + len(parsed.service or b"") > max_bytes:
        return problems.HEADERS_TOO_LARGE
    return _check(parsed, own)


def _check(parsed: RequestHeaders, own: dict[bytes, bytes]) -> RequestHeaders | Problem:
    if not own.get(b"host"):
        return problems.HOST_MISSING
    if b"upgrade" in own and b"upgrade" in _tokens(own.get(b"connection", b"")):
        return problems.UPGRADE_UNSUPPORTED
    length, coding = own.get(b"content-length"), own.get(b"transfer-encoding")
    if coding is not None:
        if coding.lower() != b"chunked" or length is not None:
            return problems.FRAMING_INVALID
        parsed.has_body = True
    elif length is not None:
        if not length.isdigit() or len(length) > 18:
            return problems.FRAMING_INVALID
        parsed.content_length = int(length)
        parsed.has_body = parsed.content_length > 0
    parsed.via = own.get(b"via")
    if parsed.via is not None and _PSEUDONYM in parsed.via:
        return problems.LOOP_DETECTED
    if (connection := own.get(b"connection")) is not None:
        _drop_named(parsed.lines, connection)
    request_id, trace = own.get(b"x-request-id"), own.get(b"traceparent")
    if request_id is not None and _REQUEST_ID.fullmatch(request_id):
        parsed.request_id = request_id
    if trace is not None and _TRACEPARENT.fullmatch(trace):
        parsed.trace = trace
    return _read_key(parsed, own.get(b"authorization"), own.get(b"x-api-key"))


def _read_key(
    parsed: RequestHeaders, authorization: bytes | None, api_key: bytes | None
) -> RequestHeaders | Problem:
    """Authorization goes on to the merchant only when the key came in X-API-Key and it carries none."""
    bearer = None
    if authorization is not None:
        scheme, _, credential = authorization.partition(b" ")
        if scheme.lower() == b"bearer":
            bearer = credential.strip()
    carries_key = bearer is not None and bearer.startswith(b"ams_live_")
    if api_key is None:
        parsed.key = bearer
        return parsed
    if carries_key and bearer != api_key:
        return problems.KEY_CONFLICT
    if authorization is not None and not carries_key:
        parsed.lines.append(b"authorization: %b\r\n" % authorization)
    parsed.key = api_key
    return parsed


def _tokens(value: bytes) -> set[bytes]:
    return {token.strip().lower() for token in value.split(b",")}


def _drop_named(lines: list[bytes], connection: bytes) -> None:
    named = _tokens(connection) - _KEPT_TOKENS - {b""}
    if named:
        lines[:] = [line for line in lines if line.partition(b":")[0] not in named]


class ResponseHeaders:
    """What an upstream's head says of its body, and the fields that reach the consumer."""

    __slots__ = ("coding", "has_length", "headers")

    def __init__(self) -> None:
        self.coding: bytes | None = None
        self.has_length = False
        self.headers: list[Header] = []


def parse_response_headers(headers: list[Header], *, has_length: bool) -> ResponseHeaders:
    """Names must be in lower case. `has_length` False: a Content-Length there means nothing and goes."""
    parsed = ResponseHeaders()
    kept = parsed.headers
    named: set[bytes] | None = None
    for header in headers:
        name, value = header
        if name not in _LOOKED_AT:
            kept.append(header)
        elif name == b"content-length":
            parsed.has_length = has_length
            if has_length:
                kept.append(header)
        elif name == b"transfer-encoding":
            parsed.coding = value if parsed.coding is None else parsed.coding + b", " + value
        elif name == b"connection" and value.lower() not in _KEPT_TOKENS:
            named = (named or set()) | _tokens(value)
    # The length can't be dropped this way: the body is framed by it.
    if named and (named := named - _KEPT_TOKENS - {b"content-length"}):
        parsed.headers = [header for header in kept if header[0] not in named]
    return parsed


_LOOKED_AT = HOP_BY_HOP | {b"content-length", b"x-request-id", b"ratelimit", b"ratelimit-policy"}
