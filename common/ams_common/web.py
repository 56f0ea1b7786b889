"""Serving an ASGI application with uvicorn, the same way in every process that has one."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from ams_common.settings import parse_listen

_BACKLOG = 512
# The cookies that the web UI sets (ams_bff.http.cookies). They lie on the whole host, which the gateway may
# share: it passes none of them on.
COOKIE_NAMES = frozenset(
    {
        *("__Host-ams_session", "ams_session", "__Host-ams_device", "ams_device"),
        *("ams_theme", "ams_zone"),
    }
)


def listen(address: str, *, write_timeout_s: float | None = None) -> socket.socket:
    """Bound and listening: from here on clients can connect, and wait. Raises OSError when it is taken.

    Connections end whose peer takes nothing for `write_timeout_s`, where the system can do that: closing one
    waits for what is still to be sent.
    """
    host, port = parse_listen(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    if write_timeout_s is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(write_timeout_s * 1000))
    listener.setblocking(False)
    return listener


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, handles_signals: bool, before_stop: Callable[[], None] | None
    ) -> None:
        super().__init__(config)
        self._handles_signals = handles_signals
        self._before_stop = before_stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if self._handles_signals:
            with super().capture_signals():
                yield
        else:
            yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._before_stop is not None:
            self._before_stop()
        await super().shutdown(sockets)


async def serve_asgi(
    app: Any,
    listener: socket.socket,
    *,
    stop_grace_s: int,
    handles_signals: bool = True,
    before_stop: Callable[[], None] | None = None,
    **options: Any,
) -> None:
    """Until cancelled, or a signal with `handles_signals`; requests under way are answered first, for
    `stop_grace_s`. `before_stop` ends what doesn't end by itself, such as event streams. `options` are
    uvicorn's own."""
    defaults: dict[str, Any] = {
        "ws": "none",
        "lifespan": "off",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "log_config": None,
    }
    config = uvicorn.Config(app, timeout_graceful_shutdown=stop_grace_s, **(defaults | options))
    server = _Server(config, handles_signals, before_stop)
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
