"""An answer's head: cut into lines, each read once; what belongs to the upstream's own origin stays behind.

The gateway answers for many merchants under one origin. So what an answer says of its whole origin (HSTS,
Alt-Svc, Clear-Site-Data, reports, service workers) is dropped, and what names the merchant's own address is
written anew. Framing is RFC 9112 §6. As with requests, a plain head is cut and what decides in it looked up;
any other is read line by line, and what a line means is remembered.
"""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from ams_gateway.http import heads
from ams_gateway.http.forwarding_fields import is_dropped_from_answer
from ams_gateway.http.heads import Cut, join_lines, split_lines
from ams_gateway.http.requests import FIELD_LINE, HOP_BY_HOP, KEPT_TOKENS, tokens_of

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)(?: [\t -~\x80-\xff]*)?")

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

    `block` are the lines that go on, each with its end. `special` are the fields that are only passed on
    rewritten: (name in lower case, value).
    """

    content_length: int | None = None
    is_chunked = False
    date: bytes | None = None
    connection: frozenset[bytes] = frozenset()
    upgrade: bytes | None = None
    block = b""

    def __init__(self, status: int, minor_version: int) -> None:
        self.status = status
        self.keep_alive = minor_version > 0
        self.special: list[tuple[bytes, bytes]] = []

    @property
    def lines(self) -> list[bytes]:
        """Those of the block, without their ends."""
        return split_lines(self.block)

    @property
    def is_bodiless(self) -> bool:
        """A length there means nothing, and no body comes."""
        return self.status in (204, 304) or self.status < 200


_Reading = tuple[Callable[[Response, Any], None], Any] | None


_UNREAD: Any = object()


class ResponseParser:
    """Reads heads of answers, and remembers what was in them."""

    def __init__(self, cut: Cut = heads.cut) -> None:
        self._cut = cut
        self._kinds: dict[bytes, int] = {}
        # By what decides in a head: what it says without the rest.
        self._plain: dict[bytes, Response] = {}
        self._known: dict[bytes, _Reading] = {}
        # By head: within a second, answers of one kind often have the same.
        self._responses: dict[bytes, Response] = {}

    def parse(self, head: bytes) -> Response:
        """`head` comes without the empty line at its end. Raises InvalidAnswerError."""
        response = self._responses.get(head)
        if response is None:
            response = self.read_plain(head) or self._read(head)
            if len(head) <= _MAX_KNOWN_HEAD_BYTES:
                if len(self._responses) >= _MAX_KNOWN_HEADS:
                    self._responses.clear()
                self._responses[head] = response
        return response

    def read_plain(self, head: bytes) -> Response | None:
        """None: the head has to be read by its lines, and may be invalid. Raises InvalidAnswerError."""
        parts = self._cut(head, self._kinds, (), 0)
        if parts is None:
            return None
        deciding, passing, length, date, _, _ = parts
        known = self._plain.get(deciding) or self._read_deciding(deciding)
        if known is None:
            return None
        response = Response.__new__(Response)
        response.status = known.status
        response.keep_alive = known.keep_alive
        response.is_chunked = known.is_chunked
        response.special = known.special
        if length is not None:
            if known.is_chunked:
                return None
            _content_length(response, (b"", length))
        response.block = passing
        if date is not None:
            _date(response, (b"", date))
            response.block += b"date: %b\r\n" % date
        return response

    def _read_deciding(self, lines: bytes) -> Response | None:
        """None where the other lines matter for more than their own values."""
        response = self._read(lines[:-2])
        if response.is_bodiless or response.connection - KEPT_TOKENS:
            return None
        if len(lines) <= _MAX_KNOWN_HEAD_BYTES:
            if len(self._plain) >= _MAX_KNOWN_HEADS:
                self._plain.clear()
            self._plain[lines] = response
        return response

    def _read(self, head: bytes) -> Response:
        first, *lines = head.split(b"\r\n")
        matched = _STATUS_LINE.fullmatch(first)
        if matched is None:
            raise InvalidAnswerError
        response = Response(int(matched[2]), matched[1] == b"1")
        heads.learn(self._kinds, lines, _kind_of)
        kept: list[bytes] = []
        known = self._known
        for line in lines:
            reading = known.get(line, _UNREAD)
            if reading is _UNREAD:
                reading = self._read_line(line)
            if reading is None:
                kept.append(line)
            else:
                reading[0](response, reading[1])
        if response.date is not None:
            kept.append(b"date: " + response.date)
        _check_framing(response, kept)
        response.block = join_lines(kept)
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


def _kind_of(name: bytes) -> int:
    """What `heads.cut` does with a field of this name."""
    if name in _VARYING:
        return heads.FIRST_SLOT + _VARYING.index(name)
    if name in _READERS or name in _SPECIAL:
        return heads.DECIDES
    return heads.DROPPED if name in _DROPPED or is_dropped_from_answer(name) else heads.PASSES


def _check_framing(response: Response, kept: list[bytes]) -> None:
    if response.is_chunked and response.content_length is not None:
        raise InvalidAnswerError
    if response.is_bodiless:
        response.content_length = None
        response.is_chunked = False
    if not response.connection:
        return
    if b"close" in response.connection:
        response.keep_alive = False
    elif b"keep-alive" in response.connection:
        response.keep_alive = True
    if named := response.connection - KEPT_TOKENS:
        kept[:] = [line for line in kept if line.partition(b":")[0].lower() not in named]
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
    response.date = field[1]


_READERS: dict[bytes, Callable[[Response, Any], None]] = {
    b"content-length": _content_length,
    b"transfer-encoding": _coding,
    b"connection": _connection,
    b"upgrade": _upgrade,
    b"date": _date,
}
# In the order of `heads.cut`'s slots.
_VARYING = (b"content-length", b"date")
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
