"""An answer's head: cut into lines, each read once; what belongs to the upstream's own origin stays behind.

The gateway answers for many merchants under one origin. So what an answer says of its whole origin (HSTS,
Alt-Svc, Clear-Site-Data, reports, service workers) is dropped, and what names the merchant's own address is
written anew. Framing is RFC 9112 §6. As with requests, what a line means is remembered.
"""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from ams_gateway.http.forwarding_fields import is_dropped_from_answer
from ams_gateway.http.requests import FIELD_LINE, HOP_BY_HOP, tokens_of

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)(?: [\t -~\x80-\xff]*)?")
_KEPT_TOKENS = frozenset((b"keep-alive", b"close", b"upgrade", b""))

_MAX_KNOWN_LINES = 8192
_MAX_KNOWN_LINE_BYTES = 512
_MAX_KNOWN_HEADS = 1024
_MAX_KNOWN_HEAD_BYTES = 2048

# The gateway's own to say, beside what `forwarding_fields` names.
_DROPPED = HOP_BY_HOP | {b"ratelimit", b"ratelimit-policy", b"x-request-id"}


class InvalidAnswerError(Exception):
    """The bytes aren't an answer that can be passed on."""


class Response:
    """What an answer's head says. Nothing is changed once it is read: answers with the same head share it.

    `lines` go on as they are. `special` are the fields that are only passed on rewritten: (name in lower
    case, value).
    """

    content_length: int | None = None
    is_chunked = False
    has_date = False
    connection: frozenset[bytes] = frozenset()
    upgrade: bytes | None = None
    # `lines` as they are written, each with its end.
    block = b""

    def __init__(self, status: int, minor_version: int) -> None:
        self.status = status
        self.keep_alive = minor_version > 0
        self.lines: list[bytes] = []
        self.special: list[tuple[bytes, bytes]] = []


_Reading = tuple[Callable[[Response, Any], None], Any] | None


_UNREAD: Any = object()


class ResponseParser:
    """Reads heads of answers, and remembers what their lines meant."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Reading] = {}
        # By head: within a second, answers of one kind often have the same.
        self._responses: dict[bytes, Response] = {}

    def parse(self, head: bytes) -> Response:
        """`head` comes without the empty line at its end. Raises InvalidAnswerError."""
        response = self._responses.get(head)
        if response is None:
            response = self._parse(head)
            if len(head) <= _MAX_KNOWN_HEAD_BYTES:
                if len(self._responses) >= _MAX_KNOWN_HEADS:
                    self._responses.clear()
                self._responses[head] = response
        return response

    def _parse(self, head: bytes) -> Response:
        first, *lines = head.split(b"\r\n")
        matched = _STATUS_LINE.fullmatch(first)
        if matched is None:
            raise InvalidAnswerError
        response = Response(int(matched[2]), matched[1] == b"1")
        kept, known = response.lines, self._known
        for line in lines:
            reading = known.get(line, _UNREAD)
            if reading is _UNREAD:
                reading = self._read_line(line)
            if reading is None:
                kept.append(line)
            else:
                reading[0](response, reading[1])
        _check_framing(response)
        response.block = b"".join([line + b"\r\n" for line in kept])
        return response

    def _read_line(self, line: bytes) -> _Reading:
        matched = FIELD_LINE.fullmatch(line)
        if matched is None:
            raise InvalidAnswerError
        name, value = matched[1].lower(), matched[2]
        reader = _READERS.get(name)
        found: _Reading = None
        if reader is not None:
            found = reader, (name, value)
        elif name in _SPECIAL:
            found = _special, (name, value)
        elif name in _DROPPED or is_dropped_from_answer(name):
            found = _ignore, None
        if len(line) <= _MAX_KNOWN_LINE_BYTES:
            if len(self._known) >= _MAX_KNOWN_LINES:
                self._known.clear()
            self._known[line] = found
        return found


def _check_framing(response: Response) -> None:
    status = response.status
    if response.is_chunked and response.content_length is not None:
        raise InvalidAnswerError
    if status in (204, 304) or status < 200:
        # A length there means nothing, and no body comes.
        response.content_length = None
        response.is_chunked = False
    if not response.connection:
        return
    if b"close" in response.connection:
        response.keep_alive = False
    elif b"keep-alive" in response.connection:
        response.keep_alive = True
    if named := response.connection - _KEPT_TOKENS:
        response.lines[:] = [line for line in response.lines if line.partition(b":")[0].lower() not in named]
        response.special[:] = [field for field in response.special if field[0] not in named]


def _ignore(response: Response, field: object) -> None:
    pass


def _special(response: Response, field: tuple[bytes, bytes]) -> None:
    response.special.append(field)


def _content_length(response: Response, field: tuple[bytes, bytes]) -> None:
    value = field[1]
    if response.content_length is not None or not value.isdigit() or len(value) > 18:
        raise InvalidAnswerError
    response.content_length = int(value)


def _coding(response: Response, field: tuple[bytes, bytes]) -> None:
    # Any other coding would have to be undone before the length of the body were known.
    if response.is_chunked or field[1].lower() != b"chunked" or not response.keep_alive:
        raise InvalidAnswerError
    response.is_chunked = True


def _connection(response: Response, field: tuple[bytes, bytes]) -> None:
    response.connection = response.connection | tokens_of(field[1])


def _upgrade(response: Response, field: tuple[bytes, bytes]) -> None:
    response.upgrade = field[1]


def _date(response: Response, field: tuple[bytes, bytes]) -> None:
    response.has_date = True
    response.lines.append(b"date: " + field[1])


_READERS: dict[bytes, Callable[[Response, Any], None]] = {
    b"content-length": _content_length,
    b"transfer-encoding": _coding,
    b"connection": _connection,
    b"upgrade": _upgrade,
    b"date": _date,
}
# Passed on rewritten, or not at all.
_SPECIAL = frozenset((b"location", b"content-location", b"link", b"set-cookie"))


def status_line(status: int) -> bytes:
    """The first line of an answer, with its line end. Any status from 100 to 599 has one."""
    return _STATUS_LINES[status]


def _make_status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")


_STATUS_LINES = {status: _make_status_line(status) for status in range(100, 600)}
