"""Connections that stay without progress, or are too many: raw sockets against the real process."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from ams_bff.http.connections import ConnectionLimits, Connections
from starlette.applications import Starlette
from uvicorn import Config
from uvicorn.server import ServerState

HEAD = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /api/v1/auth/sign-in HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
# Longer than the shortest of the limits below, with the sweep's inexactness and a busy machine's.
PATIENCE_S = 15.0


@pytest.fixture(scope="module")
def bff(start_bff: Any) -> Any:
    """One that loses its patience soon."""
    return start_bff(
        BFF_HEAD_TIMEOUT_S="1",
        BFF_BODY_TIMEOUT_S="1",
        BFF_WHOLE_BODY_TIMEOUT_S="3",
        BFF_IDLE_TIMEOUT_S="2",
        BFF_WRITE_TIMEOUT_S="2",
        BFF_MOST_CONNECTIONS_PER_ADDRESS="20",
    )


@pytest.fixture
def connection(bff: Any) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", bff.port), timeout=PATIENCE_S) as opened:
        yield opened


def rest_of(connection: socket.socket) -> bytes:
    """What comes until the server closes. Raises TimeoutError when it doesn't."""
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


def drip(connection: socket.socket, piece: bytes, every_s: float) -> float:
    """Sends a piece again and again until the server has closed; how long that took."""
    begun_s = time.monotonic()
    connection.settimeout(every_s)
    while time.monotonic() - begun_s < PATIENCE_S:
        try:
            connection.sendall(piece)
            if connection.recv(65536) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - begun_s


def test_who_says_nothing_is_closed(connection: socket.socket) -> None:
    assert rest_of(connection).startswith(b"HTTP/1.1 408 ")


def test_a_head_that_comes_drop_by_drop_is_closed(connection: socket.socket) -> None:
    connection.sendall(HEAD)
    assert 0.9 < drip(connection, b"X-A: b\r\n", 0.2) < PATIENCE_S


def test_half_a_head_is_answered_with_a_408(connection: socket.socket) -> None:
    connection.sendall(HEAD)
    assert rest_of(connection).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_stops_is_closed(connection: socket.socket) -> None:
    connection.sendall(POST + b"Content-Length: 1000\r\n\r\n{")
    rest_of(connection)


def test_a_body_that_comes_drop_by_drop_is_closed(connection: socket.socket) -> None:
    connection.sendall(POST + b"Content-Length: 100000\r\n\r\n")
    assert 2.9 < drip(connection, b" ", 0.2) < PATIENCE_S


def test_a_form_that_comes_drop_by_drop_is_closed(connection: socket.socket) -> None:
    connection.sendall(b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    assert drip(connection, b"a", 0.2) < PATIENCE_S


def test_who_is_idle_after_an_answer_is_closed(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"\r\n")
    assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert rest_of(connection)[:9] in (b"", b'{"status"')


async def test_uvicorn_closes_no_idle_connection_before_that() -> None:
    connections = Connections(ConnectionLimits())
    protocol = connections.protocol(config=Config(Starlette()), server_state=ServerState(), app_state={})
    assert protocol.timeout_keep_alive == ConnectionLimits().idle_s == 75


def test_a_second_head_has_its_own_time(connection: socket.socket) -> None:
    for _ in range(4):
        connection.sendall(HEAD)
        time.sleep(0.5)
        connection.sendall(b"\r\n")
        answer = b""
        while b'"alive"}' not in answer:
            answer += connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 ")
    connection.sendall(HEAD)
    assert rest_of(connection).startswith(b"HTTP/1.1 408 ")


def test_one_address_has_no_more_connections_than_its_share(bff: Any) -> None:
    def ask(connection: socket.socket) -> bytes:
        connection.sendall(HEAD + b"\r\n")
        return connection.recv(65536)

    with ExitStack() as stack:

        def connect() -> socket.socket:
            opened = socket.create_connection(("127.0.0.1", bff.port), timeout=PATIENCE_S)
            return stack.enter_context(opened)

        kept = [connect() for _ in range(20)]
        assert all(ask(connection).startswith(b"HTTP/1.1 200 ") for connection in kept)
        assert connect().recv(65536).startswith(b"HTTP/1.1 429 ")
        kept[0].close()
        deadline_s = time.monotonic() + PATIENCE_S
        while not ask(connect()).startswith(b"HTTP/1.1 200 "):
            assert time.monotonic() < deadline_s


def test_behind_a_proxy_everybody_has_its_address(start_bff: Any) -> None:
    bff = start_bff(BFF_TRUSTED_PROXIES="1", BFF_MOST_CONNECTIONS_PER_ADDRESS="2")
    with ExitStack() as stack:
        for _ in range(10):
            opened = stack.enter_context(
                socket.create_connection(("127.0.0.1", bff.port), timeout=PATIENCE_S)
            )
            opened.sendall(HEAD + b"\r\n")
            assert opened.recv(65536).startswith(b"HTTP/1.1 200 ")
