"""A consumer's key reaches no merchant, wherever else the consumer has put it."""

from base64 import b64encode, urlsafe_b64encode

import pytest
from ams_common import apikeys
from ams_gateway.http.key_leaks import holds_key, scrub_query
from ams_gateway.http.problems import Header
from ams_gateway.http.requests import FirstLine, RequestParser
from hypothesis import given
from hypothesis import strategies as st

# Always the same: tests that run side by side are matched by their parameters.
KEY = b"ams_live_4fKq9ZtB0123456789abcdefghijABCDEFGHIJ012eUQNm"
assert apikeys.hash_key(KEY) is not None
TEST_KEY = b"ams_test_" + KEY.removeprefix(b"ams_live_")
ENCODED = b"".join(b"%%%02x" % byte for byte in KEY)


def passed_on(*headers: Header) -> list[bytes]:
    """The lines that the merchant gets of a call with these, whose key is in X-API-Key."""
    lines = [b"host: gateway", b"x-api-key: " + KEY, *(b"%b: %b" % header for header in headers)]
    request = RequestParser(32 * 1024).read(FirstLine("POST", b"/api/consume", 1), lines, 0)
    assert request.problem is None
    return request.lines


def basic(credentials: bytes) -> Header:
    return b"authorization", b"Basic " + b64encode(credentials)


@pytest.mark.parametrize(
    "header",
    [
        (b"x-token", KEY),
        (b"x-token", TEST_KEY),
        (b"x-token", b"Token token=" + KEY + b", other"),
        (b"authorization", b"Bearer " + KEY),
        (b"authorization", b"ApiKey " + KEY),
        basic(KEY + b":"),
        basic(b"user:" + KEY),
        basic(b"ab:" + KEY),
        basic(b"api:" + TEST_KEY),
        (b"x-credentials", urlsafe_b64encode(b"\xff\xfe\xfd" + KEY).rstrip(b"=")),
        (b"x-url", b"https://a.example/?key=" + ENCODED),
        (b"x-url", b"https://a.example/?key=" + KEY.replace(b"_", b"%255F")),
    ],
)
def test_a_header_line_that_holds_a_key_goes(header: Header) -> None:
    kept = passed_on((b"accept", b"*/*"), header, (b"x-data", b"100%25"))
    assert kept == [b"accept: */*", b"x-data: 100%25"]


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer eyJhbGciOiJIUzI1NiJ9.e30.signature"),
        basic(b"user:password"),
        (b"x-team", b"ams_ams_live"),
        (b"x-data", b"%61%6D%73"),
        (b"x-data", b"YW1zX" * 10),
    ],
)
def test_other_credentials_and_text_stay(header: Header) -> None:
    assert passed_on((b"accept", b"*/*"), header) == [b"accept: */*", b"%b: %b" % header]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", b""),
        (b"a=1&b=%20&&c", b"a=1&b=%20&&c"),
        (b"key=" + KEY, b""),
        (b"a=1&key=" + KEY + b"&b=%41;&&c=", b"a=1&b=%41;&&c="),
        (KEY + b"=1&a=1", b"a=1"),
        (b"a=1&key=" + ENCODED, b"a=1"),
        (b"a=1&key=" + b"%25".join(ENCODED.split(b"%")), b"a=1"),
        (b"a=1&key=%2525" + b"61" + KEY[1:], b"a=1"),
        (b"auth=" + b64encode(b"x" + KEY) + b"&a=1", b"a=1"),
        (b"one=" + KEY + b"&two=" + TEST_KEY, b""),
    ],
)
def test_a_query_loses_what_holds_a_key_and_nothing_else(query: bytes, expected: bytes) -> None:
    assert scrub_query(query) == expected


@given(st.binary(max_size=40), st.binary(max_size=40), st.sampled_from([KEY, TEST_KEY]))
def test_base64_of_a_key_amid_anything_is_found(before: bytes, after: bytes, key: bytes) -> None:
    assert holds_key(b64encode(before + key + after))
    assert holds_key(urlsafe_b64encode(before + key + after))


@given(st.data())
def test_a_key_is_found_whichever_of_its_characters_are_percent_encoded(data: st.DataObject) -> None:
    encoded = b"".join(
        data.draw(st.sampled_from([bytes([byte]), b"%%%02x" % byte, b"%%%02X" % byte, b"%%25%02X" % byte]))
        for byte in KEY
    )
    assert holds_key(b"q=%20" + encoded + b"%zz")


@given(st.lists(st.text("ab=%&;+2025", max_size=8).map(str.encode), max_size=6).map(b"&".join))
def test_a_query_without_a_key_stays_byte_for_byte(query: bytes) -> None:
    assert scrub_query(query) is query
    assert scrub_query(query + b"&k=" + KEY) == query
