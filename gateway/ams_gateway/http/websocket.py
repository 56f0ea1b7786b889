"""WebSocket (RFC 6455) as far as a gateway needs it that passes bytes on unchanged: whether a request opens
one, whether the upstream has accepted, and what has passed since, for metering."""

import hashlib
import re
from base64 import b64encode

from ams_gateway.http.problems import Header
from ams_gateway.http.requests import Request
from ams_gateway.http.responses import Response

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# 16 bytes in base64
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_KNOWN = frozenset((_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG))
_MAX_CONTROL_BYTES = 125


# What both sides are told, in the gateway's own spelling.
UPGRADE_FIELDS = b"connection: upgrade\r\nupgrade: websocket\r\n"


def handshake_key(request: Request) -> bytes | None:
    """The Sec-WebSocket-Key of a request that opens a WebSocket; None for any other."""
    # Most requests end here. HTTP/1.0 has no upgrades.
    if request.upgrade is None or request.minor_version == 0 or request.has_body:
        return None
    headers = [(b"upgrade", request.upgrade), (b"connection", b",".join(request.connection))]
    headers += _fields(request.lines)
    if not is_handshake(request.method, headers):
        return None
    return _joined(headers)[b"sec-websocket-key"]


def is_opened_by(response: Response, key: bytes) -> bool:
    """Whether a 101 answers the handshake with this Sec-WebSocket-Key."""
    headers = [(b"upgrade", response.upgrade or b""), (b"connection", b",".join(response.connection))]
    return is_accepted(headers + _fields(response.lines), key)


def _fields(lines: list[bytes]) -> list[Header]:
    fields = []
    for line in lines:
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.strip()))
    return fields


def is_handshake(method: str, headers: list[Header]) -> bool:
    """Whether the request opens a WebSocket as RFC 6455 §4.2.1 asks. One that does so only half is none:
    it is for the caller to refuse like any other upgrade."""
    found = _joined(headers)
    key = found.get(b"sec-websocket-key", b"").strip()
    return (
        method == "GET"
        and b"websocket" in _tokens(found.get(b"upgrade", b""))
        and b"upgrade" in _tokens(found.get(b"connection", b""))
        and found.get(b"sec-websocket-version", b"").strip() == b"13"
        and _KEY.fullmatch(key) is not None
        # A body before the first frame would be read as frames by one side and not by the other.
        and b"transfer-encoding" not in found
        and found.get(b"content-length", b"0").strip() == b"0"
    )


def is_accepted(headers: list[Header], key: bytes) -> bool:
    """Whether an upstream's 101 answers the handshake with this Sec-WebSocket-Key. If not, what follows may
    be anything, and no tunnel must be opened for it."""
    found = _joined(headers)
    return (
        _tokens(found.get(b"upgrade", b"")) == {b"websocket"}
        and b"upgrade" in _tokens(found.get(b"connection", b""))
        and found.get(b"sec-websocket-accept", b"").strip() == accept_key(key)
    )


def accept_key(key: bytes) -> bytes:
    """Sec-WebSocket-Accept for a Sec-WebSocket-Key."""
    return b64encode(hashlib.sha1(key.strip() + _GUID, usedforsecurity=False).digest())


def _joined(headers: list[Header]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found[name] = found[name] + b", " + value if name in found else value
    return found


def _tokens(value: bytes) -> set[bytes]:
    return {token.strip().lower() for token in value.split(b",")}


class FrameCounter:
    """Counts what passes in one direction of a WebSocket, however its bytes are cut into pieces.

    `messages` have come to their end. `payload_bytes` are those of all frames, control frames too, so that
    nothing passes unmetered; compressed, where the two sides have agreed on that. After `is_invalid` nothing
    is counted any more: what passes isn't WebSocket, and the caller must end it, or it would pass for
    nothing.
    """

    __slots__ = ("_head", "_is_amid_message", "_is_final", "_left", "_opcode", "is_closed", "is_invalid",
                 "messages", "payload_bytes")  # fmt: skip

    def __init__(self) -> None:
        self.messages = 0
        self.payload_bytes = 0
        # A Close frame has passed: nothing more of weight will come this way.
        self.is_closed = False
        self.is_invalid = False
        # The bytes of a frame's head that have come.
        self._head = bytearray()
        # Bytes of the payload that are still to come.
        self._left = 0
        self._opcode = _CONTINUATION
        self._is_final = False
        self._is_amid_message = False

    def feed(self, data: bytes) -> None:
        position, end = 0, len(data)
        while position < end and not self.is_invalid:
            if self._left:
                taken = min(self._left, end - position)
                self.payload_bytes += taken
                self._left -= taken
                position += taken
                if not self._left:
                    self._end_frame()
                continue
            missing = self._head_length() - len(self._head)
            self._head += data[position : position + missing]
            position += missing
            if len(self._head) == self._head_length():
                self._start_frame()

    def _head_length(self) -> int:
        """How long the head will be, as far as can be told by now: two bytes, an extended length, a mask."""
        if len(self._head) < 2:
            return 2
        length = self._head[1] & 0x7F
        return 2 + (2 if length == 126 else 8 if length == 127 else 0) + (4 if self._head[1] & 0x80 else 0)

    def _start_frame(self) -> None:
        head = self._head
        self._opcode = opcode = head[0] & 0x0F
        self._is_final = bool(head[0] & 0x80)
        length = head[1] & 0x7F
        if length >= 126:
            length = int.from_bytes(head[2 : 4 if length == 126 else 10], "big")
        self._head = bytearray()
        if opcode not in _KNOWN or length >= 1 << 63:
            self.is_invalid = True
        elif opcode >= _CLOSE:
            self.is_invalid = not self._is_final or length > _MAX_CONTROL_BYTES
        else:
            # A message goes on as a continuation, and nothing else does.
            self.is_invalid = (opcode == _CONTINUATION) != self._is_amid_message
            self._is_amid_message = True
        self._left = length
        if not length and not self.is_invalid:
            self._end_frame()

    def _end_frame(self) -> None:
        if self._opcode == _CLOSE:
            self.is_closed = True
        elif self._opcode < _CLOSE and self._is_final:
            self.messages += 1
            self._is_amid_message = False
