"""What is read from a request's head, and what of it goes on to the merchant."""

import pytest
from ams_common.snapshots import service_snapshot_key
from ams_gateway.http import heads
from ams_gateway.http.requests import Request, RequestParser
from ams_gateway.http.responses import InvalidAnswerError, ResponseParser

KEY = b"ams_live_" + b"a" * 46
HOST = (b"host", b"gateway")


def parse(*headers: tuple[bytes, bytes], target: bytes = b"/api/consume") -> Request:
    head = b"POST %b HTTP/1.1\r\n" % target + b"\r\n".join(b"%b: %b" % header for header in headers)
    parser = RequestParser(10_000)
    # Twice: what is remembered of a line means the same as what was read in it.
    for _ in range(2):
        first, *lines = head.split(b"\r\n")
        line = parser.first_line(first)
        assert line is not None
        request = parser.read(line, lines, len(head))
    for cut in (heads.cut, heads.cut_in_python):
        parser = RequestParser(10_000, cut)
        parser.learn(lines)
        plain = parser.read_plain(head)
        assert plain is None or all(
            getattr(plain, name) == getattr(request, name)
            for name in vars(request).keys() - {"frame", "host", "named", "authorization", "connection"}
        )
    return request


def read(*headers: tuple[bytes, bytes]) -> Request:
    request = parse(HOST, *headers)
    assert request.problem is None
    return request


def problem_of(*headers: tuple[bytes, bytes]) -> str:
    problem = parse(*headers).problem
    assert problem is not None
    return f"{problem.status} {problem.code}"


@pytest.mark.parametrize(
    "name", [b"host", b"authorization", b"x-api-key", b"content-length", b"transfer-encoding"]
)
def test_single_headers_that_come_twice_are_refused(name: bytes) -> None:
    value = b"1" if name == b"content-length" else b"chunked"
    assert problem_of(HOST, (name, value), (name, value)) == "400 header_duplicate"


def test_a_missing_host_is_refused() -> None:
    assert problem_of((b"accept", b"*/*")) == "400 host_missing"
    assert problem_of((b"host", b"")) == "400 host_missing"


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"identity", b"chunked, chunked", b"xchunked", b""])
def test_only_plain_chunked_is_taken(coding: bytes) -> None:
    assert problem_of(HOST, (b"transfer-encoding", coding)) == "400 framing_invalid"


def test_length_and_chunked_together_are_refused() -> None:
    assert (
        problem_of(HOST, (b"transfer-encoding", b"chunked"), (b"content-length", b"3"))
        == "400 framing_invalid"
    )


@pytest.mark.parametrize("length", [b"-1", b"+1", b"1, 1", b"0x1", b"", b"9" * 19])
def test_only_a_plain_number_is_a_length(length: bytes) -> None:
    assert problem_of(HOST, (b"content-length", length)) == "400 framing_invalid"


def test_headers_above_the_cap_are_refused() -> None:
    assert problem_of(HOST, (b"x-a", b"a" * 10_000)) == "431 headers_too_large"


def test_different_keys_in_both_headers_are_refused() -> None:
    other = b"ams_live_" + b"b" * 46
    assert problem_of(HOST, (b"authorization", b"Bearer " + KEY), (b"x-api-key", other)) == "400 key_conflict"
    assert read((b"authorization", b"Bearer " + KEY), (b"x-api-key", KEY)).key == KEY


@pytest.mark.parametrize("authorization", [b"Bearer " + KEY, b"bearer " + KEY, b"BEARER  " + KEY])
def test_the_key_is_found_and_goes_no_further(authorization: bytes) -> None:
    parsed = read((b"authorization", authorization), (b"x-ams-service", b"s"), (b"x-ams-anything", b"1"))
    assert (parsed.key, parsed.service_name, parsed.lines) == (KEY, service_snapshot_key("s"), [])
    parsed = read((b"x-api-key", KEY))
    assert (parsed.key, parsed.lines) == (KEY, [])


def test_the_merchants_own_authorization_goes_on_beside_x_api_key() -> None:
    parsed = read((b"authorization", b"Basic abc"), (b"x-api-key", KEY))
    assert (parsed.key, parsed.lines) == (KEY, [b"authorization: Basic abc"])


def test_hop_by_hop_headers_and_those_that_connection_names_stay_here() -> None:
    parsed = read(
        (b"connection", b"keep-alive, X-Private"),
        (b"x-private", b"1"),
        (b"keep-alive", b"timeout=5"),
        (b"te", b"trailers"),
        (b"trailer", b"x"),
        (b"proxy-authorization", b"Basic x"),
        (b"expect", b"100-continue"),
        (b"accept", b"*/*"),
    )
    assert parsed.lines == [b"accept: */*"]


def test_an_upgrade_is_not_passed_on_and_not_refused() -> None:
    """RFC 9110 §7.8: a server may go on with HTTP/1.1."""
    parsed = read(
        (b"connection", b"Upgrade, HTTP2-Settings"), (b"upgrade", b"h2c"), (b"http2-settings", b"A")
    )
    assert (parsed.lines, parsed.keep_alive) == ([], True)


def test_a_request_that_went_through_here_before_is_refused() -> None:
    assert problem_of(HOST, (b"via", b"1.1 other, 1.1 ams-gateway")) == "508 loop_detected"


@pytest.mark.parametrize("value", [b"a b", b"", b"x" * 129, b'"', b"\xff"])
def test_a_request_id_that_could_do_harm_in_a_log_is_replaced(value: bytes) -> None:
    assert read((b"x-request-id", value)).request_id is None
    assert read((b"x-request-id", b"abc-1")).request_id == b"abc-1"


def test_trace_context_is_kept_when_it_is_valid() -> None:
    valid = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert read((b"traceparent", valid)).trace == valid
    for invalid in (b"x", valid.replace(b"00-", b"ff-"), b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01"):
        assert read((b"traceparent", invalid)).trace is None


def test_an_answers_hop_by_hop_headers_stay_here_but_never_its_length() -> None:
    lines = [
        b"HTTP/1.1 200 OK",
        b"connection: close, x-inner, content-length",
        b"x-inner: 1",
        b"content-length: 3",
        b"x-outer: 1",
        b"upgrade: h2c",
        b"x-request-id: theirs",
    ]
    answer = ResponseParser().parse(b"\r\n".join(lines))
    assert (answer.lines, answer.content_length, answer.keep_alive) == ([b"x-outer: 1"], 3, False)


@pytest.mark.parametrize(
    "name", ["Strict-Transport-Security", "Alt-Svc", "Clear-Site-Data", "NEL", "Service-Worker-Allowed"]
)
def test_what_an_answer_says_of_its_whole_origin_stays_here(name: str) -> None:
    answer = ResponseParser().parse(f"HTTP/1.1 200 OK\r\n{name}: x\r\nX-A: b".encode())
    assert answer.lines == [b"X-A: b"]


@pytest.mark.parametrize(
    "head",
    [b"HTTP/2 200 OK", b"HTTP/1.1 200 OK\r\nX : a", b"HTTP/1.1 200 OK\r\nX: a\r\n b", b"HTTP/1.1 099 x"],
)
def test_what_is_no_head_of_an_answer_is_refused(head: bytes) -> None:
    with pytest.raises(InvalidAnswerError):
        ResponseParser().parse(head)
