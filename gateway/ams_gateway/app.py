"""The ASGI application of one worker, and how uvicorn serves it."""

import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from ams_gateway.access.snapshot_cache import Source
from ams_gateway.metrics import MetricsExport
from ams_gateway.operator import OperatorServer
from ams_gateway.runtime import Runtime, connect_sources
from ams_gateway.server.asgi_entry import AsgiEntry
from ams_gateway.server.connection import ConsumeProtocol
from ams_gateway.server.guarded import MAX_HEAD_BYTES, GuardedProtocol
from ams_gateway.settings import Settings


def server_options(settings: Settings) -> dict[str, Any]:
    """Through which of the two entries consume requests come, and uvicorn's other settings."""
    return {
        "http": ConsumeProtocol if settings.consume_protocol else GuardedProtocol,
        "ws": "none",
        "lifespan": "on",
        # The upstream's own Date and Server pass; ours would stand beside them.
        "date_header": False,
        "server_header": False,
        "access_log": False,
        "log_config": None,
        "proxy_headers": False,
        "timeout_keep_alive": max(1, round(settings.idle_timeout_s)),
        "h11_max_incomplete_event_size": MAX_HEAD_BYTES,
        "timeout_graceful_shutdown": int(settings.drain_s),
    }


def build(
    settings: Settings,
    sources: tuple[Source, Source] | None = None,
    operators: socket.socket | None = None,
) -> Starlette:
    """`sources`: where keys and services come from that Redis lacks; None: keys-svc and catalog-svc.
    `operators`: where operators' questions are answered; None: nowhere."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        runtime = Runtime(settings, *(sources or connect_sources(settings)))
        export = MetricsExport(runtime)
        server = OperatorServer(runtime, export, operators) if operators is not None else None
        await runtime.open()
        export.open()
        if server is not None:
            server.open()
        app.state.runtime = runtime
        app.state.entry = AsgiEntry(runtime.gateway, runtime.request_parser)
        try:
            # uvicorn hands this to the protocol of each connection.
            yield {
                "gateway": runtime.gateway,
                "request_parser": runtime.request_parser,
                "timeouts": runtime.connection_timeouts,
                "deadlines": runtime.deadlines,
            }
        finally:
            export.close()
            await runtime.close()
            if server is not None:
                await server.close()

    app = Starlette(lifespan=lifespan)
    # Routes go by the decoded path, and calls by the path as it came.
    app.router.default = consume
    return app


async def consume(scope: Scope, receive: Receive, send: Send) -> None:
    """Calls, and an answer for what isn't one."""
    entry: AsgiEntry = scope["app"].state.entry
    await entry(scope, receive, send)
