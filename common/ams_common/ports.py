"""TCP ports on the loopback address."""

import random
import socket
from collections.abc import Iterator
from itertools import islice

# Below the range from which Linux takes the local ports of outgoing connections, so that no client
# takes a port between our asking and the server's binding.
FIRST, LAST = 18000, 32000

# Not the shared generator: test runs seed that, and two of them would then choose the same ports.
_RANDOM = random.SystemRandom()
# What this process was told of already: it may not listen there yet.
_GIVEN: set[int] = set()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, none of which this process was given before."""
    return list(islice(_candidates(), count))


def free_port() -> int:
    """Returns a TCP port of the loopback address on which nobody listens."""
    return free_ports(1)[0]


def default_or_free(default: int) -> int:
    """The port people expect where it is free, else another."""
    return default if is_free(default) else free_port()


def _candidates() -> Iterator[int]:
    while True:
        port = _RANDOM.randrange(FIRST, LAST)
        if port not in _GIVEN and is_free(port):
            _GIVEN.add(port)
            yield port
