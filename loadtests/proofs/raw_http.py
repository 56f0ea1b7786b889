"""HTTP/1.1 messages read as strictly as the RFCs allow: what a lenient reader mends is a fault here.

RFC 9110 (fields), RFC 9112 (framing). Nothing here does I/O: bytes come in, messages go out.
"""

import re
from dataclasses import dataclass

Field = tuple[bytes, bytes]

_REQUEST_LINE = re.compile(rb"[A-Z][A-Z-]* [!-~]+ HTTP/1\.1")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 [1-5][0-9]{2} [\t\x20-\x7e\x80-\xff]*")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,12}")
# RFC 9110 §6.5.1: what frames or routes a message, or proves who sends it.
_NOT_IN_TRAILERS = (b"content-length", b"transfer-encoding", b"host", b"authorization", b"trailer")
_DIGITS = re.compile(rb"[0-9]{1,15}")


class MalformedError(Exception):
    """No strict reader takes this for HTTP."""


@dataclass(frozen=True)
class Message:
    start_line: bytes
    fields: tuple[Field, ...]  # names in lower case
    body: bytes
    size: int  # in bytes, as it came

    def values(self, name: bytes) -> list[bytes]:
        return [value for each, value in self.fields if each == name]

    def value(self, name: bytes) -> bytes:
        """The first value, b"" for none."""
        return next(iter(self.values(name)), b"")

    @property
    def method(self) -> bytes:
        return self.start_line.split(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.start_line.split(b" ")[1]

    @property
    def status(self) -> int:
        return int(self.start_line.split(b" ")[1])


def read_request(data: bytes) -> Message | None:
    """The request that the bytes begin with; None while it isn't whole."""
    head = _read_head(data, _REQUEST_LINE)
    if head is None:
        return None
    if len(head.values(b"host")) != 1:
        raise MalformedError(f"{len(head.values(b'host'))} Host fields")
    return _with_body(head, data, length_if_untold=0)


def read_response(data: bytes, *, to_head: bool = False, at_end: bool = False) -> Message | None:
    """The response that the bytes begin with; None while it isn't whole. `to_head`: it answers a HEAD.
    `at_end`: the connection has ended."""
    head = _read_head(data, _STATUS_LINE)
    if head is None:
        if at_end and data:
            raise MalformedError(f"a head was cut off: {data[:80]!r}")
        return None
    if to_head or head.status < 200 or head.status in (204, 304):
        return head
    untold = len(data) - head.size if at_end else None
    return _with_body(head, data, length_if_untold=untold)


def _read_head(data: bytes, start: re.Pattern[bytes]) -> Message | None:
    """The head as a message without a body."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = data[:end].split(b"\r\n")
    if not start.fullmatch(first):
        raise MalformedError(f"start line {first[:120]!r}")
    fields = []
    for line in lines:
        if (found := _FIELD.fullmatch(line)) is None:
            raise MalformedError(f"field {line[:120]!r}")
        fields.append((found[1].lower(), found[2].rstrip(b" \t")))
    return Message(first, tuple(fields), b"", end + 4)


def _with_body(head: Message, data: bytes, length_if_untold: int | None) -> Message | None:
    lengths, codings = head.values(b"content-length"), head.values(b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise MalformedError(f"framed by {lengths + codings}")
    if codings:
        if codings[0].lower() != b"chunked":
            raise MalformedError(f"coded as {codings[0]!r}")
        return _with_chunks(head, data)
    if lengths and not _DIGITS.fullmatch(lengths[0]):
        raise MalformedError(f"length {lengths[0]!r}")
    length = int(lengths[0]) if lengths else length_if_untold
    if length is None or len(data) < head.size + length:
        return None
    return Message(head.start_line, head.fields, data[head.size : head.size + length], head.size + length)


def _with_chunks(head: Message, data: bytes) -> Message | None:
    position, body = head.size, b""
    while True:
        end = data.find(b"\r\n", position)
        if end < 0:
            return None
        if not _CHUNK_SIZE.fullmatch(line := data[position:end]):
            raise MalformedError(f"chunk size {line[:40]!r}")
        position, size = end + 2, int(line, 16)
        if size == 0:
            break
        if len(data) < position + size + 2:
            return None
        if data[position + size : position + size + 2] != b"\r\n":
            raise MalformedError("a chunk is longer than it says")
        body += data[position : position + size]
        position += size + 2
    while (end := data.find(b"\r\n", position)) > position:
        line = data[position:end]
        if (found := _FIELD.fullmatch(line)) is None or found[1].lower() in _NOT_IN_TRAILERS:
            raise MalformedError(f"trailer {line[:120]!r}")
        position = end + 2
    return None if end < 0 else Message(head.start_line, head.fields, body, end + 2)
