"""Bodies as RFC 9112 §6 and §7 frame them, cut out of what comes in pieces."""

import re

# A size that needs more digits is no size. Extensions are read over, and bounded.
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t -~\x80-\xff]*)?")
_MAX_LINE_BYTES = 4096
_MAX_TRAILER_BYTES = 32 * 1024
_TRAILER_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*")


class FramingError(Exception):
    """The bytes aren't a body of this framing: nothing after them can be told apart any more."""


class LengthDecoder:
    """A body of a known length."""

    __slots__ = ("left", "rest")

    def __init__(self, length: int) -> None:
        self.left = length
        # What came after the body's end.
        self.rest = b""

    @property
    def is_done(self) -> bool:
        return self.left == 0

    def feed(self, data: bytes) -> bytes:
        """What of `data` belongs to the body."""
        if len(data) <= self.left:
            self.left -= len(data)
            return data
        body, self.rest = data[: self.left], data[self.left :]
        self.left = 0
        return body


class CloseDecoder:
    """A body that ends with its connection."""

    __slots__ = ()
    is_done = False
    rest = b""

    def feed(self, data: bytes) -> bytes:
        return data


class ChunkedDecoder:
    """A chunked body. Extensions and trailers are read over: they are never taken for headers."""

    __slots__ = ("_buffer", "_in_trailer", "_left", "_trailer_bytes", "is_done", "rest")

    def __init__(self) -> None:
        self._buffer = b""
        # Of the present chunk, with the line end behind it; 0: its size comes next.
        self._left = 0
        self._in_trailer = False
        self._trailer_bytes = 0
        self.is_done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """What of `data` belongs to the body. Raises FramingError."""
        data = self._buffer + data if self._buffer else data
        self._buffer = b""
        pieces: list[bytes] = []
        position = 0
        while not self.is_done and position < len(data):
            if self._left:
                position = self._take(data, position, pieces)
                if position < 0:
                    break
                continue
            end = data.find(b"\r\n", position)
            if end < 0:
                self._buffer = data[position:]
                if len(self._buffer) > _MAX_LINE_BYTES or b"\n" in self._buffer:
                    raise FramingError
                break
            self._read_line(data[position:end])
            position = end + 2
        if self.is_done:
            self.rest = data[position:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _take(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        """The position after what `data` has of the chunk; -1: all of it is used up."""
        of_body = self._left - 2
        if of_body > 0:
            piece = data[position : position + of_body]
            pieces.append(piece)
            self._left -= len(piece)
            position += len(piece)
            if self._left > 2:
                return -1
        ending = data[position : position + 2]
        if ending == b"\r\n":
            self._left = 0
            return position + 2
        if ending not in (b"", b"\r"):
            raise FramingError
        self._buffer = ending
        return -1

    def _read_line(self, line: bytes) -> None:
        if self._in_trailer:
            self._trailer_bytes += len(line)
            if not line:
                self.is_done = True
            elif self._trailer_bytes > _MAX_TRAILER_BYTES or not _TRAILER_LINE.fullmatch(line):
                raise FramingError
            return
        matched = _SIZE_LINE.fullmatch(line)
        if matched is None or len(line) > _MAX_LINE_BYTES:
            raise FramingError
        size = int(matched[1], 16)
        if size:
            self._left = size + 2
        else:
            self._in_trailer = True


Decoder = LengthDecoder | CloseDecoder | ChunkedDecoder


def frame_chunk(data: bytes, *, last: bool) -> bytes:
    """RFC 9112 §7.1. An empty piece must not be written: it would end the body."""
    framed = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
    return framed + b"0\r\n\r\n" if last else framed
