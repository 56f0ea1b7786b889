"""A request's head: cut into lines, each read once, and put together anew for the merchant's API.

RFC 9110 §7.6 (hop-by-hop fields, Via), RFC 9112 §2–§6 (syntax and framing), W3C Trace Context. The syntax is
taken strictly: what two readers could cut up differently is refused and never passed on.

Requests of one client differ in a line or two, which seldom decide anything. So what the others say is
remembered as a whole, and a plain head costs one cut (`heads.cut`) and one look-up. A head that isn't plain,
or says something new, is read line by line; what a line means is remembered too. Lines that go on are those
that came, byte for byte.
"""

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from ams_common.apikeys import KEY_LENGTH
from ams_common.snapshots import key_snapshot_key

from ams_gateway.http import heads, problems
from ams_gateway.http.cors import is_preflight
from ams_gateway.http.forwarding_fields import is_dropped
from ams_gateway.http.heads import NAME, VALUE, Cut, join_lines, read_trace, split_lines
from ams_gateway.http.key_leaks import SUSPECTS, holds_key
from ams_gateway.http.problems import Problem
from ams_gateway.http.routes import NOWHERE, NamedService, Route, is_ours, name_service, read_target

PSEUDONYM = b"ams-gateway"
VIA = b"1.1 " + PSEUDONYM

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}) ([!-~\x80-\xff]+) HTTP/(\d)\.(\d)")
# No obs-fold, no space before the colon.
FIELD_LINE = re.compile(rb"(%b):[ \t]*(%b?)[ \t]*" % (NAME.pattern, VALUE.pattern))
_METHOD = re.compile(r"[A-Z]+(-[A-Z]+)*")
_COMMON_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=:-]{1,128}")
KEPT_TOKENS = frozenset((b"keep-alive", b"close", b"upgrade", b""))
_FORWARDED_FOR = b"x-forwarded-for:"
_KEY_STARTS = (b"ams_live_", b"ams_test_")

_MAX_KNOWN_LINES = 8192
_MAX_KNOWN_LINE_BYTES = 512


class Frame:
    """What stands before and after the lines that go on, for one grant's merchant."""

    __slots__ = ("after", "before", "grant")

    def __init__(self) -> None:
        self.grant: object = None
        self.before = self.after = b""


class Request:
    """What a head says. Nothing is changed once it is read: requests with the same head share it.

    `path` None: the base URL itself. `block` are the lines that go on as they are, each with its end.
    `problem` is why it can't be forwarded, whoever sends it. `frame` is made for the first request that has
    the grant, and shared by those that differ only in what decides nothing.
    """

    # Most requests have few of these: what is the class's costs a request nothing.
    problem: Problem | None = None
    path: bytes | None = None
    query = b""
    # The path under which the service lies for this consumer, /api/consume/weather; and whether the request
    # itself lies there.
    scope = b""
    is_transparent = False
    host: bytes | None = None
    # The key, and the names of the key's and the service's snapshots; None: there was none.
    key: bytes | None = None
    key_name = ""
    service_name: str | None = None
    # X-AMS-Service, and Authorization with the key in it and the name of that key's snapshot.
    named: NamedService | None = None
    authorization: tuple[bytes, bytes | None, str] | None = None
    # None: no length was given; then a body is chunked.
    content_length: int | None = None
    is_chunked = False
    has_body = False
    expects_continue = False
    connection: frozenset[bytes] = frozenset()
    upgrade: bytes | None = None
    request_id: bytes | None = None
    trace: bytes | None = None
    cookie: bytes | None = None
    origin: bytes | None = None
    preflight_method: bytes | None = None
    preflight_headers: bytes | None = None
    # Whom the connection is with, and the head as it came: looked at for keys that may be used from some
    # addresses only.
    peer = ""
    head = b""

    def __init__(self, method: str, minor_version: int) -> None:
        self.method = method
        self.minor_version = minor_version
        self.keep_alive = minor_version > 0
        self.block = b""
        self.frame = Frame()

    @property
    def lines(self) -> list[bytes]:
        """Those of the block, without their ends."""
        return split_lines(self.block)

    @property
    def forwarded_for(self) -> list[str]:
        """The values of the head's X-Forwarded-For, in their order."""
        lines = self.head.split(b"\r\n")[1:]
        return [
            line[len(_FORWARDED_FOR) :].decode("latin-1")
            for line in lines
            if line[: len(_FORWARDED_FOR)].lower() == _FORWARDED_FOR
        ]

    @property
    def is_preflight(self) -> bool:
        return is_preflight(self.method, self.origin, self.preflight_method)

    @property
    def has_seldom_fields(self) -> bool:
        """Whether it says what `repeated` would leave out."""
        return self.expects_continue or self.upgrade is not None or self.origin is not None

    def repeated(self) -> "Request":
        """Another request that says the same. What was needed for reading it is left out, and so are lines
        and values: the other has its own."""
        # Not a copy of its __dict__, which costs twice as much as this.
        request = Request.__new__(Request)
        request.method = self.method
        request.minor_version = self.minor_version
        request.keep_alive = self.keep_alive
        request.path = self.path
        request.query = self.query
        request.scope = self.scope
        request.is_transparent = self.is_transparent
        request.key = self.key
        request.key_name = self.key_name
        request.service_name = self.service_name
        request.frame = self.frame
        return request


class FirstLine:
    """What a request line says. `is_ours`: whether the gateway serves this target at all."""

    __slots__ = ("is_ours", "method", "minor_version", "problem", "route")

    def __init__(self, method: str, target: bytes, minor_version: int) -> None:
        self.method = method
        self.minor_version = minor_version
        self.problem = _check_method(method)
        self.is_ours = is_ours(target)
        self.route = read_target(method, target) if self.is_ours else NOWHERE


# What is made of a value, what that does to a request, and whether it is seldom the same twice. Without
# the first the line goes on as it is, or does nothing.
_Name = tuple[Callable[[bytes], Any] | None, Callable[[Request, Any], Problem | None] | None, bool]
# What is found in a line, and the function that puts it into the request; None: the line goes on as it is.
_Reading = tuple[Callable[[Request, Any], Problem | None], Any] | None
# An exception for each line that isn't known would cost more than reading it.
_UNREAD: Any = object()


class RequestParser:
    """Reads heads, and remembers what was in them."""

    def __init__(self, max_head_bytes: int, cut: Cut = heads.cut) -> None:
        self._max_head_bytes = max_head_bytes
        self._cut = cut
        self._kinds: dict[bytes, int] = {}
        # By what decides in a head: what it says without the rest.
        self._plain: dict[bytes, Request] = {}
        self._first_lines: dict[bytes, FirstLine] = {}
        self._names: dict[bytes, _Name] = {}
        self._lines: dict[bytes, _Reading] = {}

    def read_plain(self, head: bytes) -> Request | None:
        """The request of a head that is plain and ours, as nearly all are. None: it has to be read by its
        lines, and may be wrong."""
        parts = self._cut(head, self._kinds, SUSPECTS, KEY_LENGTH)
        if parts is None or len(head) > self._max_head_bytes:
            return None
        deciding, passing, length, trace, request_id, cookie = parts
        known = self._plain.get(deciding) or self._read_deciding(deciding)
        if known is None:
            return None
        request = known.repeated()
        request.block = passing + known.block
        if length is not None:
            length_bytes = request.content_length = _read_length(length)
            if length_bytes is None:
                return None
            request.has_body = length_bytes > 0
        if trace is not None:
            request.trace = read_trace(trace)
        if request_id is not None:
            _request_id(request, request_id)
        if cookie is not None:
            request.cookie = cookie
        return request

    def _read_deciding(self, lines: bytes) -> Request | None:
        """None where the other lines matter for more than their own values."""
        first_line, *others = split_lines(lines)
        first = self.first_line(first_line)
        if first is None or not first.is_ours:
            return None
        request = self.read(first, others, 0)
        if (
            request.problem is not None
            or request.is_chunked
            or request.connection - KEPT_TOKENS
            or request.has_seldom_fields
        ):
            return None
        _remember(self._plain, lines, request)
        return request

    def learn(self, lines: list[bytes]) -> None:
        """See heads.learn."""
        heads.learn(self._kinds, lines, _kind_of)

    def first_line(self, line: bytes) -> FirstLine | None:
        """None: this isn't HTTP/1."""
        known = self._first_lines.get(line)
        if known is None:
            matched = _REQUEST_LINE.fullmatch(line)
            if matched is None or matched[3] != b"1":
                return None
            known = FirstLine(matched[1].decode("ascii"), matched[2], int(matched[4]))
            _remember(self._first_lines, line, known)
        return known

    def read(self, first: FirstLine, lines: list[bytes], size_bytes: int) -> Request:
        """The request of a head: its other lines, and the size of all. The first thing wrong is its
        problem; where that leaves the framing in doubt (`closes`), the rest isn't read."""
        request = Request(first.method, first.minor_version)
        problem = first.problem if size_bytes <= self._max_head_bytes else problems.HEADERS_TOO_LARGE
        if problem is not None:
            request.problem = problem
            if problem.closes:
                return request
        kept: list[bytes] = []
        known = self._lines
        for line in lines:
            reading = known.get(line, _UNREAD)
            if reading is _UNREAD:
                reading = self._read_line(line)
            if reading is None:
                kept.append(line)
                continue
            problem = reading[0](request, reading[1])
            if problem is not None:
                request.problem = problem
                if problem.closes:
                    return request
        if request.content_length:
            request.has_body = True
        if request.connection or request.is_chunked or request.host is None:
            problem = _check_framing(request, kept)
            if problem is not None:
                request.problem = problem
                return request
        if request.authorization is not None:
            _read_key(request, request.authorization, kept)
        _apply_route(request, first.route)
        request.block = join_lines(kept)
        return request

    def _read_line(self, line: bytes) -> _Reading:
        name, colon, value = line.partition(b":")
        read, apply, varies = self._names.get(name) or self._read_name(name)
        value = value.strip(b" \t")
        if not colon or VALUE.fullmatch(value) is None:
            return _refuse, problems.HEADER_INVALID
        found: _Reading = None
        if apply is not None:
            found = apply, read(value) if read is not None else value
        elif len(value) >= KEY_LENGTH and holds_key(value):
            found = _ignore, None
        if not varies:
            _remember(self._lines, line, found)
        return found

    def _read_name(self, name: bytes) -> _Name:
        lower = name.lower()
        reader = _READERS.get(lower)
        if NAME.fullmatch(name) is None:
            return lambda _: problems.HEADER_INVALID, _refuse, True
        if reader is not None:
            known: _Name = (*reader, lower in _VARYING)
        elif lower in HOP_BY_HOP or is_dropped(lower):
            known = None, _ignore, False
        else:
            known = None, None, False
        _remember(self._names, name, known)
        return known


def _kind_of(name: bytes) -> int:
    """What `heads.cut` does with a field of this name."""
    if name in _VARYING:
        return heads.FIRST_SLOT + _VARYING.index(name)
    if name in _READERS:
        return heads.DECIDES
    return heads.DROPPED if name in HOP_BY_HOP or is_dropped(name) else heads.PASSES


def _remember(table: dict[bytes, Any], line: bytes, found: object) -> None:
    if len(line) <= _MAX_KNOWN_LINE_BYTES:
        if len(table) >= _MAX_KNOWN_LINES:
            # Strangers' lines may have filled it. What is in use is back at once.
            table.clear()
        table[line] = found


def why_unreadable(head: bytes) -> Problem:
    """What is wrong with a head that isn't HTTP/1."""
    version = head.partition(b"\r\n")[0].rpartition(b" ")[2]
    is_other = version.startswith(b"HTTP/") and version[5:6].isdigit() and version[5:6] != b"1"
    return problems.VERSION_UNSUPPORTED if is_other else problems.REQUEST_INVALID


def read_page(head: bytes) -> Request:
    """What of a head that is refused tells which page it comes from and which service it names, read as well
    as it can be. It may be cut off, and nothing else of it may be used."""
    first, *lines = head.split(b"\r\n")
    method, _, rest = first.partition(b" ")
    target = rest.partition(b" ")[0]
    request = Request(method.decode("latin-1"), 1)
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"origin":
            request.origin = value.strip()
        elif name.lower() == b"x-ams-service":
            request.named = name_service(value)
    if is_ours(target):
        _apply_route(request, read_target(request.method, target))
    return request


def tokens_of(value: bytes) -> frozenset[bytes]:
    return frozenset(token.strip().lower() for token in value.split(b","))


def _check_method(method: str) -> Problem | None:
    if method in _COMMON_METHODS:
        return None
    if method in ("CONNECT", "TRACE") or not _METHOD.fullmatch(method):
        return problems.METHOD_UNSUPPORTED
    return None


def _check_framing(request: Request, kept: list[bytes]) -> Problem | None:
    if request.host is None and request.minor_version > 0:
        return problems.HOST_MISSING
    if request.is_chunked and (request.content_length is not None or request.minor_version == 0):
        return problems.FRAMING_INVALID
    if request.is_chunked:
        request.has_body = True
    if named := request.connection - KEPT_TOKENS:
        kept[:] = [line for line in kept if line.partition(b":")[0].lower() not in named]
    if b"close" in request.connection:
        request.keep_alive = False
    elif b"keep-alive" in request.connection:
        request.keep_alive = True
    return None


def _read_key(request: Request, authorization: tuple[bytes, bytes | None, str], kept: list[bytes]) -> None:
    """Authorization goes on only when the key came in X-API-Key and Authorization carries none."""
    value, key, key_name = authorization
    carries_key = key is not None and key.startswith(_KEY_STARTS)
    if request.key is None:
        request.key, request.key_name = key, key_name
    elif not carries_key:
        if not holds_key(value):
            kept.append(b"authorization: " + value)
    elif key != request.key:
        request.problem = request.problem or problems.KEY_CONFLICT


def _apply_route(request: Request, route: Route) -> None:
    request.path, request.query = route.path, route.query
    request.is_transparent = route.is_transparent
    service, problem = route.service, route.problem
    if not route.is_transparent:
        if request.named is not None:
            if service is not None and service.name != request.named.name:
                problem = problem or problems.SERVICE_CONFLICT
            service = request.named
        if request.method == "OPTIONS" and not request.is_preflight:
            problem = problems.METHOD_NOT_ALLOWED
    if service is not None:
        request.service_name, request.scope = service.snapshot_name, service.scope
    if problem is not None and request.problem is None:
        request.problem = problem


# How the fields are read that the gateway needs itself: what is made of a value, which is remembered with
# the line, and what that does to a request. None of them goes on; what has to is written anew.


def _refuse(request: Request, problem: Problem) -> Problem:
    return problem


def _ignore(request: Request, value: object) -> None:
    return None


def _as_it_is(value: bytes) -> bytes:
    return value


def _host(request: Request, value: bytes) -> Problem | None:
    if request.host is not None:
        return problems.HEADER_DUPLICATE
    if not value:
        return problems.HOST_MISSING
    request.host = value
    return None


def _read_credential(value: bytes) -> tuple[bytes, bytes | None, str]:
    scheme, _, credential = value.partition(b" ")
    if scheme.lower() != b"bearer":
        return value, None, ""
    key = credential.strip()
    return value, key, name_of_key(key)


def _authorization(request: Request, value: tuple[bytes, bytes | None, str]) -> Problem | None:
    if request.authorization is not None:
        return problems.HEADER_DUPLICATE
    request.authorization = value
    return None


def name_of_key(key: bytes) -> str:
    return key_snapshot_key(sha256(key).digest())


def _api_key(request: Request, value: tuple[bytes, str]) -> Problem | None:
    if request.key is not None:
        return problems.HEADER_DUPLICATE
    request.key, request.key_name = value
    return None


def _service(request: Request, value: NamedService | None) -> Problem | None:
    if request.named is not None:
        return problems.HEADER_DUPLICATE
    request.named = value
    return None


def _content_length(request: Request, value: int | None) -> Problem | None:
    if value is None:
        return problems.FRAMING_INVALID
    if request.content_length is not None:
        return problems.HEADER_DUPLICATE
    request.content_length = value
    return None


def _read_length(value: bytes) -> int | None:
    return int(value) if value.isdigit() and len(value) <= 18 else None


def _coding(request: Request, value: bytes) -> Problem | None:
    if request.is_chunked:
        return problems.HEADER_DUPLICATE
    if value.lower() != b"chunked":
        return problems.FRAMING_INVALID
    request.is_chunked = True
    return None


def _connection(request: Request, value: frozenset[bytes]) -> None:
    request.connection = request.connection | value if request.connection else value


def _expect(request: Request, value: bytes) -> None:
    request.expects_continue = value.lower() == b"100-continue"


def _upgrade(request: Request, value: bytes) -> None:
    request.upgrade = value


def _via(request: Request, value: bytes) -> Problem | None:
    # Nothing but loops is read in it: whom else a request came through tells who the consumer is.
    return problems.LOOP_DETECTED if PSEUDONYM in value else None


def _request_id(request: Request, value: bytes) -> None:
    # It goes to the merchant, into the event and onto pages. Most ids are shorter than a key.
    if _REQUEST_ID.fullmatch(value) and (len(value) < KEY_LENGTH or not holds_key(value)):
        request.request_id = value


def _trace(request: Request, value: bytes) -> None:
    request.trace = read_trace(value)


def _cookie(request: Request, value: bytes) -> None:
    request.cookie = value if request.cookie is None else request.cookie + b"; " + value


def _origin(request: Request, value: bytes) -> None:
    request.origin = value


def _preflight_method(request: Request, value: bytes) -> None:
    request.preflight_method = value


def _preflight_headers(request: Request, value: bytes) -> None:
    request.preflight_headers = value


_READERS: dict[bytes, tuple[Callable[[bytes], Any], Callable[[Request, Any], Problem | None]]] = {
    b"host": (_as_it_is, _host),
    b"authorization": (_read_credential, _authorization),
    b"x-api-key": (lambda value: (value, name_of_key(value)), _api_key),
    b"x-ams-service": (name_service, _service),
    b"content-length": (_read_length, _content_length),
    b"transfer-encoding": (_as_it_is, _coding),
    b"connection": (tokens_of, _connection),
    b"expect": (_as_it_is, _expect),
    b"upgrade": (_as_it_is, _upgrade),
    b"via": (_as_it_is, _via),
    b"x-request-id": (_as_it_is, _request_id),
    b"traceparent": (_as_it_is, _trace),
    b"cookie": (_as_it_is, _cookie),
    b"origin": (_as_it_is, _origin),
    b"access-control-request-method": (_as_it_is, _preflight_method),
    b"access-control-request-headers": (_as_it_is, _preflight_headers),
}
# Seldom the same twice: remembering them would only push others out. In the order of `heads.cut`'s slots.
_VARYING = (b"content-length", b"traceparent", b"x-request-id", b"cookie")

# Hop-by-hop (RFC 9110 §7.6.1), beside those that Connection names.
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
