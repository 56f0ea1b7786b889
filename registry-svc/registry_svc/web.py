"""The HTTP listener, beside the gRPC server in one process."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

_STOP_GRACE_S = 10
_BACKLOG = 512


class _Server(uvicorn.Server):
    """Leaves the signals to the gRPC server, which ends us with itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(address: str) -> socket.socket:
    """Bound and listening: from here on clients can connect, and wait. Raises OSError when it is taken."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, int(port)), family=family, backlog=_BACKLOG)
    listener.setblocking(False)
    return listener


async def serve_http(app: ASGIApp, listener: socket.socket) -> None:
    """Until cancelled; requests under way are answered first, for some seconds."""
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
        timeout_graceful_shutdown=_STOP_GRACE_S,
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
