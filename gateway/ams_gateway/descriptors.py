"""How many connections a worker may hold. Each takes a file descriptor, and so does all that it opens by
itself: where strangers had taken the last one, no call, lease or event of anybody's would get through."""

import contextlib
import resource
from dataclasses import dataclass

# Connections to Redis and Kafka, the journal's files, look-ups of names, listening sockets.
_OWN = 256
# Where the system sets no bound.
_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class ConnectionCaps:
    # Of consumers.
    clients: int
    # To merchants' APIs, and as many calls.
    upstreams: int


def raise_limit() -> None:
    """Let this process have as many descriptors as the system lets it. The soft limit, often 1,024, is for
    programs that can't count further."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Not every system takes "unlimited" here.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connection_caps() -> ConnectionCaps:
    """By the present limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return share_out(_MOST if soft == resource.RLIM_INFINITY else min(soft, _MOST))


def share_out(descriptors: int) -> ConnectionCaps:
    """A call takes a connection on either side; beside them consumers keep idle ones, far longer than the
    gateway does."""
    strangers = descriptors - min(_OWN, descriptors // 4)
    return ConnectionCaps(clients=strangers - strangers // 3, upstreams=strangers // 3)
