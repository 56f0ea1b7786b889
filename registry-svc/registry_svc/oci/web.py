"""The HTTP listener, beside the gRPC server in one process."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

_BACKLOG = 512
# Connections beyond the requests that are answered: idle ones, and those that are told to come back.
_SPARE_CONNECTIONS = 200


class _Server(uvicorn.Server):
    """Leaves the signals to the gRPC server, which ends us with itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(address: str, silence_s: float) -> socket.socket:
    """Bound and listening: from here on clients can connect, and wait. Raises OSError when it is taken.

    Connections end whose peer takes nothing for `silence_s`, where the system can do that: closing one
    waits for what is still to be sent."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, int(port)), family=family, backlog=_BACKLOG)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(silence_s * 1000))
    listener.setblocking(False)
    return listener


async def serve_http(app: ASGIApp, listener: socket.socket, *, max_requests: int, stop_grace_s: int) -> None:
    """Until cancelled; requests under way are answered first, for `stop_grace_s`."""
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_config=None,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=stop_grace_s,
        limit_concurrency=max_requests + _SPARE_CONNECTIONS,
    )
    server = _Server(config)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    cancelled = False
    while not serving.done():
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            cancelled = server.should_exit = True
    if cancelled:
        raise asyncio.CancelledError
    serving.result()
