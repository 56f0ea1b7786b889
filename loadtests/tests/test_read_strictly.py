"""The readers that proofs judge by take what the RFCs allow, and nothing that two readers could differ on."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.proofs.grammar import draw_case
from loadtests.proofs.raw_http import MalformedError, read_request, read_response

HEAD = b"POST /a HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /a HTTP/1.1\r\n\r\n",
        b"POST /a HTTP/1.0\r\nHost: x\r\n\r\n",
        b"POST /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD + b"Host: y\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        HEAD + b"Content-Length: +1\r\n\r\nx",
        HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 1\r\n\r\n",
        HEAD + b"A : b\r\n\r\n",
        HEAD + b"A: b\r\n c\r\n\r\n",
        HEAD + b"A: b\nC: d\r\n\r\n",
        HEAD + b"A: \x00\r\n\r\n",
    ],
)
def test_what_readers_differ_on_is_malformed(request_bytes: bytes) -> None:
    with pytest.raises(MalformedError):
        read_request(request_bytes)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_a_request_is_read_whole_however_it_is_framed(body: bytes, size: int) -> None:
    pieces = [body[begin : begin + size] for begin in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    by_length = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    by_chunks = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    for data in (by_length, by_chunks):
        request = read_request(data + b"rest")
        assert request is not None
        assert (request.body, request.size) == (body, len(data))
        assert read_request(data[:-1]) is None


def test_a_response_without_a_length_lasts_until_the_end_of_the_connection() -> None:
    data = b"HTTP/1.1 200 OK\r\n\r\nabc"
    assert read_response(data) is None
    whole = read_response(data, at_end=True)
    assert whole is not None
    assert whole.body == b"abc"


def test_a_response_that_is_cut_off_is_no_response() -> None:
    assert read_response(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", at_end=True) is None
    with pytest.raises(MalformedError):
        read_response(b"HTTP/1.1 200 O", at_end=True)


@given(st.integers(0, 2**32))
def test_the_same_seed_draws_the_same_case(number: int) -> None:
    first, second = (draw_case(random.Random(number), "case", "key", "slug") for _ in range(2))
    assert first == second
