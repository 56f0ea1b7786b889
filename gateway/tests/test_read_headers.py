"""What is read from a request's head, and what of it goes on to the merchant."""

import pytest
from ams_gateway.http.headers import RequestHeaders, parse_headers, parse_response_headers
from ams_gateway.http.problems import Problem

KEY = b"ams_live_" + b"a" * 46
HOST = (b"host", b"gateway")


def read(*headers: tuple[bytes, bytes]) -> RequestHeaders:
    parsed = parse_headers([HOST, *headers], 10_000)
    assert isinstance(parsed, RequestHeaders)
    return parsed


def problem_of(*headers: tuple[bytes, bytes]) -> str:
    problem = parse_headers(headers, 10_000)
    assert isinstance(problem, Problem)
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
    assert (parsed.key, parsed.service, parsed.lines) == (KEY, b"s", [])
    parsed = read((b"x-api-key", KEY))
    assert (parsed.key, parsed.lines) == (KEY, [])


def test_the_merchants_own_authorization_goes_on_beside_x_api_key() -> None:
    parsed = read((b"authorization", b"Basic abc"), (b"x-api-key", KEY))
    assert (parsed.key, parsed.lines) == (KEY, [b"authorization: Basic abc\r\n"])


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
    assert parsed.lines == [b"accept: */*\r\n"]


def test_a_protocol_upgrade_is_refused() -> None:
    assert problem_of(HOST, (b"connection", b"Upgrade"), (b"upgrade", b"h2c")) == "400 upgrade_unsupported"


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
    answer = parse_response_headers(
        [
            (b"connection", b"close, x-inner, content-length"),
            (b"x-inner", b"1"),
            (b"content-length", b"3"),
            (b"set-cookie", b"a=1"),
            (b"set-cookie", b"b=2"),
            (b"upgrade", b"h2c"),
            (b"x-request-id", b"theirs"),
        ],
        has_length=True,
    )
    assert answer.headers == [(b"content-length", b"3"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
