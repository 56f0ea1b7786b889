"""A plain head is cut apart: compiled or in Python, and to what reading it line by line gives."""

import random
from base64 import b64encode
from collections.abc import Callable, Mapping

import pytest
from ams_common.apikeys import KEY_LENGTH
from ams_gateway.http import heads
from ams_gateway.http.heads import Cut, Parts
from ams_gateway.http.key_leaks import SUSPECTS
from ams_gateway.http.requests import Request, RequestParser
from ams_gateway.http.responses import InvalidAnswerError, Response, ResponseParser
from hypothesis import given
from hypothesis import strategies as st

from loadtests.proofs.grammar import draw_case

KEY = b"ams_live_" + b"a" * 46
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
KINDS = {
    b"accept": heads.PASSES,
    b"te": heads.DROPPED,
    b"host": heads.DECIDES,
    b"length": heads.FIRST_SLOT,
    b"cookie": heads.FIRST_SLOT + heads.SLOTS - 1,
}
compiled_only = pytest.mark.skipif(not heads.is_compiled, reason="there was no C compiler to install with")
CUTS = [
    pytest.param(heads.cut_in_python, id="python"),
    pytest.param(heads.cut, id="compiled", marks=compiled_only),
]

names = st.sampled_from([*KINDS, b"Host", b"unknown", b"", b" host", b"host "])
texts = st.binary(max_size=70) | st.sampled_from([b"", b" ", b"\t1 ", b"a" * 60, KEY, b"%" * 60, b"a%b"])
field_lines = st.tuples(names, st.sampled_from([b":", b": ", b" :", b":\t", b""]), texts).map(b"".join)
lines = st.lists(field_lines | st.sampled_from([b"", b"\r", b"\n", b"a\rb:c", b"\x00:"]), max_size=8)
ends = st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n\r\n"])


def drawn_head(seed: int) -> bytes:
    """A head such as the fuzzer sends, damaged or not."""
    chosen = random.Random(seed)
    return draw_case(chosen, "case", KEY.decode(), "weather").data.partition(b"\r\n\r\n")[0]


def cut_twice(head: bytes, kinds: Mapping[bytes, int] = KINDS) -> tuple[Parts | None, Parts | None]:
    return (
        heads.cut(head, kinds, SUSPECTS, KEY_LENGTH),
        heads.cut_in_python(head, kinds, SUSPECTS, KEY_LENGTH),
    )


def read_by_lines(head: bytes) -> Request | None:
    parser = RequestParser(32 * 1024)
    first, *rest = head.split(b"\r\n")
    line = parser.first_line(first)
    return None if line is None else parser.read(line, rest, len(head))


def read_plain(head: bytes, cut: Cut) -> Request | None:
    """As a connection does: at first what its fields do isn't known."""
    parser = RequestParser(32 * 1024, cut)
    assert parser.read_plain(head) is None or b"\r\n" not in head
    parser.learn(head.split(b"\r\n")[1:])
    found = parser.read_plain(head)
    again = parser.read_plain(head)
    assert (found and said_by(found)) == (again and said_by(again))
    return found


# What the parsers need while they read, and what only a head says that isn't plain.
WHILE_READING = {"frame", "host", "named", "authorization", "connection", "upgrade", "repeated"}


def said_by(read: Request | Response) -> dict[str, object]:
    names = (name for name in dir(read) if not name.startswith("_") and name not in WHILE_READING)
    return {name: getattr(read, name) for name in names}


def test_a_head_is_cut_into_what_decides_what_goes_on_and_values() -> None:
    head = b"GET / HTTP/1.1\r\nhost: a\r\naccept:  b\r\nte: c\r\nlength:\t 5 \r\naccept: d"
    for parts in cut_twice(head):
        assert parts == (
            b"GET / HTTP/1.1\r\nhost: a\r\n",
            b"accept:  b\r\naccept: d\r\n",
            b"5",
            None,
            None,
            None,
        )


@pytest.mark.parametrize(
    "line",
    [
        b"unknown: a",
        b"Host: a",
        b"host",
        b"host : a",
        b" folded: a",
        b"accept: a\rb",
        b"accept: a\nb",
        b"accept: \x00",
        b"accept: \x7f",
        b"",
        b"length: 1\r\nlength: 1",
        b"accept: " + KEY,
        b"accept: " + b"%" * 55,
        b"accept: " + b"a" * 8192,
    ],
)
def test_what_is_not_plain_is_not_cut(line: bytes) -> None:
    assert cut_twice(b"GET / HTTP/1.1\r\n" + line) == (None, None)


@given(st.lists(st.tuples(field_lines, ends).map(b"".join), max_size=6).map(b"".join), lines)
def test_both_cuts_are_one(beginning: bytes, rest: list[bytes]) -> None:
    compiled, in_python = cut_twice(b"\r\n".join([beginning, *rest]))
    assert compiled == in_python


@given(st.integers(min_value=0))
def test_both_cuts_of_damaged_heads_are_one(seed: int) -> None:
    head = drawn_head(seed)
    parser = RequestParser(32 * 1024)
    parser.learn(head.split(b"\r\n")[1:])
    for kinds in (KINDS, parser._kinds):
        compiled, in_python = cut_twice(head, kinds)
        assert compiled == in_python


@pytest.mark.parametrize("cut", CUTS)
@given(seed=st.integers(min_value=0))
def test_a_plain_head_says_what_its_lines_say(seed: int, cut: Cut) -> None:
    head = drawn_head(seed)
    plain = read_plain(head, cut)
    if plain is not None:
        by_lines = read_by_lines(head)
        assert by_lines is not None
        assert said_by(plain) == said_by(by_lines)


@pytest.mark.parametrize("cut", CUTS)
def test_what_ordinary_clients_send_is_plain(cut: Cut) -> None:
    head = b"\r\n".join(
        [
            b"POST /api/consume/weather/today?q=1 HTTP/1.1",
            b"Host: api.example",
            b"User-Agent: client/1.0 (a library) with a long name that says what it is made with",
            b"Accept: */*",
            b"Connection: keep-alive",
            b"Authorization: Bearer " + KEY,
            b"traceparent: " + TRACE,
            b"Cookie: a=b",
            b"X-Request-Id: 1",
            b"Forwarded: for=10.0.0.1",
            b"Via: 1.1 proxy",
            b"Content-Length: 5",
        ]
    )
    request = read_plain(head, cut)
    assert request is not None
    assert said_by(request) == said_by(read_by_lines(head) or Request("", 0))
    assert (request.trace, request.cookie, request.content_length) == (TRACE, b"a=b", 5)
    assert request.lines == [
        b"User-Agent: client/1.0 (a library) with a long name that says what it is made with",
        b"Accept: */*",
    ]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(
    "line", [b"Expect: 100-continue", b"Upgrade: websocket", b"Origin: https://a.example"]
)
def test_a_field_that_few_requests_have_makes_a_head_not_plain(line: bytes, cut: Cut) -> None:
    assert read_plain(b"POST /api/consume HTTP/1.1\r\nHost: a\r\n" + line, cut) is None


@pytest.mark.parametrize("cut", CUTS)
def test_requests_that_share_what_decides_share_nothing_else(cut: Cut) -> None:
    parser = RequestParser(32 * 1024, cut)
    start = b"POST /api/consume HTTP/1.1\r\nhost: a\r\nx-api-key: " + KEY
    parser.learn([b"host:", b"x-api-key:", b"cookie:", b"content-length:", b"accept:"])
    first = parser.read_plain(start + b"\r\ncookie: a=1\r\ncontent-length: 5\r\naccept: b")
    second = parser.read_plain(start)
    assert first is not None and second is not None
    assert (first.cookie, first.content_length, first.has_body, first.lines) == (
        b"a=1",
        5,
        True,
        [b"accept: b"],
    )
    assert (second.cookie, second.content_length, second.has_body, second.lines) == (None, None, False, [])


answer_lines = st.sampled_from(
    [
        b"Content-Length: 5",
        b"content-length: +5",
        b"Content-Length: 05 ",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
        b"Connection: keep-alive",
        b"Connection: close, Etag",
        b"Date: Sun, 29 Nov 2026 11:00:00 GMT",
        b"Set-Cookie: a=b",
        b"Location:  /c",
        b"ETag: d",
        b"etag:e ",
        b"Server: \xff",
        b"Alt-Svc: clear",
        b"X-Request-Id: f",
        b"Upgrade: websocket",
        b"X-A: \x00",
        b"X-A : b",
        b" folded",
    ]
)
status_lines = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.0 200", b"HTTP/1.1 204 No Content", b"HTTP/1.1 101 x", b"HTTP/2 200", b""]
)


@pytest.mark.parametrize("cut", CUTS)
@given(status_line=status_lines, lines=st.lists(answer_lines, max_size=7))
def test_an_answers_plain_head_says_what_its_lines_say(
    status_line: bytes, lines: list[bytes], cut: Cut
) -> None:
    head = b"\r\n".join([status_line, *lines])
    by_lines = answer_of(head, ResponseParser(never_plain))
    parser = ResponseParser(cut)
    # What its fields do is learnt from others, for only what is read whole teaches.
    for line in lines:
        answer_of(b"HTTP/1.1 200 OK\r\n" + line, parser)
    for _ in range(2):
        assert answer_of(head, parser) == by_lines


def never_plain(*_: object) -> None:
    return None


def answer_of(head: bytes, parser: ResponseParser) -> dict[str, object] | None:
    """None: it is refused. Lines in any order: a plain answer's date comes last."""
    try:
        answer = parser.parse(head)
    except InvalidAnswerError:
        return None
    return said_by(answer) | {"block": None, "lines": sorted(answer.lines)}


def test_an_ordinary_answer_is_plain() -> None:
    head = b"HTTP/1.1 200 OK\r\nDate: a\r\nContent-Type: b\r\nETag: %b\r\nContent-Length: 5"
    parser = ResponseParser()
    parser.parse(head % b"1")
    answer = parser.read_plain(head % b"2")
    assert answer is not None
    assert answer.lines == [b"Content-Type: b", b"ETag: 2", b"date: a"]
    assert (answer.status, answer.content_length, answer.date, answer.keep_alive) == (200, 5, b"a", True)


@given(
    st.from_regex(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", fullmatch=True)
    | st.binary(max_size=60)
    | st.sampled_from(
        [
            TRACE,
            TRACE.replace(b"00-", b"ff-"),
            TRACE + b"-x",
            TRACE + b"x",
            b"01" + TRACE[2:],
            b"01" + TRACE[2:] + b"-x",
            b"01" + TRACE[2:] + b"-x\n",
            b"01" + TRACE[2:] + b"x",
            TRACE.replace(b"b7ad6b7169203331", b"0" * 16),
            b"00-" + b"0" * 32 + TRACE[35:],
            TRACE.upper(),
        ]
    )
)
def test_both_take_the_same_traces(value: bytes) -> None:
    assert heads.read_trace(value) == heads.read_trace_in_python(value)


@pytest.mark.parametrize("read_trace", [heads.read_trace, heads.read_trace_in_python])
def test_of_a_trace_only_what_is_its_version_goes_on(read_trace: Callable[[bytes], bytes | None]) -> None:
    later = b"01" + TRACE[2:]
    taken = {TRACE: TRACE, later: TRACE, later + b"-": TRACE, later + b"-" + KEY: TRACE}
    for value, trace in taken.items():
        assert read_trace(value) == trace
    for value in (TRACE + b"-", TRACE + b"-" + KEY, TRACE + KEY, later + KEY, TRACE[:-1], b"ff" + TRACE[2:]):
        assert read_trace(value) is None


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(
    "line",
    [
        b"X-Request-Id: " + KEY,
        b"X-Request-Id: " + b64encode(b":" + KEY),
        b"X-Request-Id: a/" + KEY,
        b"Via: 1.1 " + KEY,
        b"traceparent: " + TRACE + b"-" + KEY,
        b"traceparent: 01" + TRACE[2:] + b"-" + KEY,
        b"tracestate: a=" + KEY,
    ],
)
def test_a_key_in_what_is_written_anew_goes_no_further(line: bytes, cut: Cut) -> None:
    head = b"GET /api/consume/weather HTTP/1.1\r\nHost: a\r\nX-API-Key: " + KEY + b"\r\n" + line
    plain = read_plain(head, cut)
    assert plain is not None
    for read in (plain, read_by_lines(head)):
        assert read is not None and read.problem is None
        assert read.request_id is None and read.trace in (None, TRACE) and read.lines == []


@compiled_only
def test_the_compiled_cut_takes_nothing_but_what_it_is_made_for() -> None:
    arguments = b"GET / HTTP/1.1\r\na: b", {b"a": 0}, (b"b",), 0
    for place, other in ((0, "text"), (1, [b"a"]), (1, {b"a": "0"}), (2, b"b"), (2, ("b",)), (3, "0")):
        wrong = list[object](arguments)
        wrong[place] = other
        with pytest.raises((TypeError, SystemError)):
            heads.cut(*wrong)  # type: ignore[arg-type]
