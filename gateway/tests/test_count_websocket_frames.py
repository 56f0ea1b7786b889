"""What passes over a WebSocket is counted, however it is cut; frames are written by wsproto."""

import pytest
from ams_gateway.http.problems import Header
from ams_gateway.http.websocket import FrameCounter, accept_key, is_accepted, is_handshake
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol

# RFC 6455 §1.3
KEY, ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
HANDSHAKE = [
    (b"host", b"gateway"),
    (b"upgrade", b"websocket"),
    (b"connection", b"keep-alive, Upgrade"),
    (b"sec-websocket-key", KEY),
    (b"sec-websocket-version", b"13"),
]
ACCEPTED = [(b"upgrade", b"WebSocket"), (b"connection", b"Upgrade"), (b"sec-websocket-accept", ACCEPT)]

PAYLOADS = st.binary(max_size=200) | st.sampled_from([b"a" * 125, b"a" * 126, b"a" * 65_535, b"a" * 65_536])
# Frames of messages, with whether each is its message's last; and control frames, which may lie between.
FRAMES = st.lists(
    st.tuples(st.just("data"), PAYLOADS, st.booleans())
    | st.tuples(st.sampled_from(["ping", "pong"]), st.binary(max_size=125), st.just(False)),
    max_size=8,
)


def counted(*pieces: bytes) -> FrameCounter:
    counter = FrameCounter()
    for piece in pieces:
        counter.feed(piece)
    return counter


def state(counter: FrameCounter) -> tuple[int, int, bool, bool]:
    return counter.messages, counter.payload_bytes, counter.is_closed, counter.is_invalid


def cut(data: st.DataObject, whole: bytes) -> list[bytes]:
    at = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=10)))
    return [whole[start:end] for start, end in zip([0, *at], [*at, len(whole)], strict=True)]


def written(frames: list[tuple[str, bytes, bool]], peer: FrameProtocol) -> bytes:
    pieces = []
    for kind, payload, is_final in frames:
        if kind == "data":
            pieces.append(peer.send_data(payload, fin=is_final))
        else:
            pieces.append(peer.ping(payload) if kind == "ping" else peer.pong(payload))
    return b"".join(pieces)


@given(st.data(), FRAMES, st.booleans())
def test_messages_and_bytes_are_counted_wherever_the_stream_is_cut(
    data: st.DataObject, frames: list[tuple[str, bytes, bool]], is_client: bool
) -> None:
    peer = FrameProtocol(client=is_client, extensions=[])
    payload_bytes = sum(len(payload) for _, payload, _ in frames)
    messages = sum(is_final for _, _, is_final in frames)
    counter = counted(*cut(data, written(frames, peer)))
    assert state(counter) == (messages, payload_bytes, False, False)
    close = bytes(peer.close(1000, "bye"))
    for piece in cut(data, close[:-1]):
        counter.feed(piece)
    assert not counter.is_closed
    counter.feed(close[-1:])
    assert state(counter) == (messages, payload_bytes + len(b"..bye"), True, False)


@pytest.mark.parametrize(
    "frame",
    [
        b"\x83\x00",  # reserved opcodes
        b"\x8b\x00",
        b"\x09\x00",  # a control frame in pieces
        b"\x88\x7e\x00\x7e",  # and one too long
        b"\x80\x00",  # a continuation of nothing
        b"\x01\x01a\x81\x01b",  # a message inside another
        b"\x82\x7f" + b"\xff" * 8,  # a length with its first bit set
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    ],
)
def test_what_is_not_websocket_is_told_at_once(frame: bytes) -> None:
    whole, in_bytes = counted(frame), counted(*(frame[at : at + 1] for at in range(len(frame))))
    assert whole.is_invalid
    assert state(whole) == state(in_bytes)


@given(st.data(), st.binary(max_size=100))
def test_any_bytes_are_counted_alike_however_they_are_cut(data: st.DataObject, noise: bytes) -> None:
    whole, pieces = counted(noise), counted(*cut(data, noise))
    assert state(whole) == state(pieces)
    assert whole.payload_bytes <= len(noise)


def without(name: bytes, headers: list[Header] = HANDSHAKE) -> list[Header]:
    return [header for header in headers if header[0] != name]


def test_a_complete_handshake_opens_a_websocket() -> None:
    assert is_handshake("GET", HANDSHAKE)
    assert is_handshake("GET", [*without(b"upgrade"), (b"upgrade", b"WebSocket")])
    assert is_handshake("GET", [(b"connection", b"close"), *HANDSHAKE])
    assert is_handshake("GET", [*HANDSHAKE, (b"content-length", b"0")])


@pytest.mark.parametrize("name", [name for name, _ in HANDSHAKE if name != b"host"])
def test_half_a_handshake_opens_none(name: bytes) -> None:
    assert not is_handshake("GET", without(name))


@pytest.mark.parametrize(
    "header",
    [
        (b"sec-websocket-version", b"8"),
        (b"sec-websocket-key", b"c2hvcnQ="),
        (b"sec-websocket-key", KEY[:-3] + b"!=="),
        (b"upgrade", b"h2c"),
        (b"connection", b"close"),
    ],
)
def test_a_handshake_that_says_something_else_opens_none(header: Header) -> None:
    assert not is_handshake("GET", [*without(header[0]), header])


@pytest.mark.parametrize("header", [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")])
def test_a_handshake_has_no_body(header: Header) -> None:
    assert not is_handshake("GET", [*HANDSHAKE, header])


def test_only_get_opens_a_websocket_and_each_field_is_said_once() -> None:
    assert not is_handshake("POST", HANDSHAKE)
    assert not is_handshake("GET", [*HANDSHAKE, (b"sec-websocket-key", KEY)])


def test_the_accepted_key_is_that_of_the_rfc() -> None:
    assert accept_key(KEY) == accept_key(b" " + KEY) == ACCEPT


def test_a_tunnel_is_for_an_upstream_that_answers_this_handshake() -> None:
    assert is_accepted(ACCEPTED, KEY)
    assert not is_accepted(ACCEPTED, b"AAAAAAAAAAAAAAAAAAAAAA==")
    for name, _ in ACCEPTED:
        assert not is_accepted(without(name, ACCEPTED), KEY)
    assert not is_accepted([*without(b"upgrade", ACCEPTED), (b"upgrade", b"h2c, websocket")], KEY)
