import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

KIB = 1024
START = (
    b"POST /api/v1/services HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n"
)


def blank_object(size_bytes: int) -> bytes:
    return b"{" + b" " * (size_bytes - 2) + b"}"


def chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 8 * KIB):
        part = body[start : start + 8 * KIB]
        yield b"%x\r\n%s\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


def test_a_body_of_256_kib_gets_through(bff: Any) -> None:
    assert bff.ask("POST", "/api/v1/services", blank_object(256 * KIB)).code == "service_unavailable"


def test_a_larger_body_is_a_413_before_it_is_sent(bff: Any) -> None:
    answer = bff.send(START + b"Content-Length: 262145\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"body_too_large"' in answer


def test_a_length_beyond_any_integer_is_refused(bff: Any) -> None:
    answer = bff.send(START + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))


def test_a_chunked_body_of_256_kib_gets_through(bff: Any) -> None:
    body = b"".join(chunks(blank_object(256 * KIB)))
    answer = bff.send(START + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 503")


def test_a_larger_chunked_body_is_a_413_while_it_comes(bff: Any) -> None:
    parts = list(chunks(blank_object(257 * KIB)))[:-1]  # never ended: the answer comes before the end
    answer = bff.send(START + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(parts))
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_sends_a_larger_body_to_its_end_reads_the_refusal(bff: Any, method: str) -> None:
    answer = bff.ask(method, "/api/v1/services", blank_object(1000 * KIB))
    assert (answer.status, answer.code) == (413, "body_too_large")


def test_an_endless_header_closes_the_connection(bff: Any) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: "
    try:
        answer = bff.send(head + b"x" * (2048 * KIB))
    except ConnectionError:
        return  # closed while it was being sent
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431")) or answer == b""


def test_people_read_why_their_request_was_too_large(bff: Any) -> None:
    page = {"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded"}
    answer = bff.ask("POST", "/login", b"a=" + b"x" * (300 * KIB), headers=page)
    assert (answer.status, answer.headers.get_content_type()) == (413, "text/html")
    assert "too much for one form" in answer.text
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    api = bff.ask("POST", "/api/v1/services", blank_object(300 * KIB), headers=page)
    assert api.code == "body_too_large"


def test_an_address_that_is_too_long_is_a_plain_400(bff: Any) -> None:
    answer = bff.send(b"GET /" + b"x" * 66_000)
    assert answer.startswith(b"HTTP/1.1 400")


def test_cookies_that_are_too_many_are_a_plain_400(bff: Any) -> None:
    with socket.create_connection(("127.0.0.1", bff.port), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=")
        for _ in range(400):
            if select.select([connection], [], [], 0.02)[0]:
                break
            connection.sendall(b"x" * 4 * KIB)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400")


def test_endless_trailers_close_the_connection(bff: Any) -> None:
    trailers = b"X-Trailer: " + b"x" * (2048 * KIB)
    try:
        answer = bff.send(START + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + trailers)
    except ConnectionError:
        return
    assert answer == b""


def test_it_still_answers_afterwards(bff: Any) -> None:
    assert bff.ask("GET", "/healthz").status == 200
    assert "unexpected error" not in bff.log_path.read_text()
