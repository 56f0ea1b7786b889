"""A consumer that has sent the end of its stream may still be there for the answer, or be gone.

Both look the same until something is written: who is gone answers that with a reset. So after a while an
interim answer is written, which any HTTP/1.1 client reads over (RFC 9110 §15.2).
"""

import asyncio
import socket
import struct

PROBE_AFTER_S = 2.0
PROBE = b"HTTP/1.1 100 Continue\r\n\r\n"

_TCP_CLOSE = 7  # of the kernel's states of a connection


def is_gone(transport: asyncio.BaseTransport) -> bool:
    """Whether the kernel has given the connection up. asyncio doesn't notice by itself: after the end of the
    stream it waits for nothing more on the socket."""
    tcp = transport.get_extra_info("socket")
    if tcp is None or not hasattr(socket, "TCP_INFO"):
        return False
    (state,) = struct.unpack("B", tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1))
    return bool(state == _TCP_CLOSE)
