"""Ports are the ones people expect, unless somebody else has them."""

import socket

from ams_common import ports


def test_a_taken_default_gives_way_to_a_free_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        default = taken.getsockname()[1]
        assert not ports.is_free(default) and ports.is_listening(default)
        chosen = ports.default_or_free(default)
        assert chosen != default and ports.is_free(chosen)


def test_a_free_default_is_taken() -> None:
    default = ports.free_port()
    assert ports.default_or_free(default) == default


def test_no_port_is_given_twice() -> None:
    given = ports.free_ports(50) + [ports.free_port() for _ in range(300)]
    assert len(set(given)) == len(given)
