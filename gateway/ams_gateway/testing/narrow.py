"""Sockets that hold little, so that what somebody doesn't read is soon felt by whoever sends it: some kernels
hold tens of megabytes by themselves."""

import asyncio
import socket

_RECEIVED_BYTES = 65536


def narrow_socket() -> socket.socket:
    made = socket.socket()
    # Before it is connected or listens: the window is offered then, and doesn't grow by itself any more.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED_BYTES)
    return made


def narrow_listener() -> socket.socket:
    """On a free port of 127.0.0.1."""
    made = narrow_socket()
    made.bind(("127.0.0.1", 0))
    return made


async def connect_narrow(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    made = narrow_socket()
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
    return await asyncio.open_connection(sock=made, limit=_RECEIVED_BYTES)
