"""The ASGI application: the entry for consume requests, and Starlette behind it for health and metrics."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from typing import Any

from ams_common import metrics
from ams_common.logs import configure_logs
from ams_common.settings import load
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ams_gateway.access.snapshot_cache import Source
from ams_gateway.runtime import Runtime, connect_sources
from ams_gateway.server.asgi_entry import AsgiEntry
from ams_gateway.server.connection import ConsumeProtocol
from ams_gateway.server.guarded import MAX_HEAD_BYTES, GuardedProtocol
from ams_gateway.settings import Settings


def create() -> Starlette:
    """The application of one worker; uvicorn calls it there (`factory=True`)."""
    settings = load(Settings, "GATEWAY")
    configure_logs("gateway", settings.log_level)
    # What has been imported stays, and requests leave no cycles: the collector need not look so often.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    return build(settings)


def server_options(settings: Settings) -> dict[str, Any]:
    """How uvicorn serves us, and through which of the two entries consume requests come."""
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


def build(settings: Settings, sources: tuple[Source, Source] | None = None) -> Starlette:
    """`sources`: where keys and services come from that Redis lacks; None: keys-svc and catalog-svc."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        runtime = Runtime(settings, *(sources or connect_sources(settings)))
        await runtime.open()
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
            await runtime.close()

    app = Starlette(
        lifespan=lifespan,
        routes=[Route("/healthz", live), Route("/readyz", ready), Route("/metrics", scrape)],
    )
    # Routes go by the decoded path, and calls by the path as it came.
    app.router.default = consume
    return app


async def consume(scope: Scope, receive: Receive, send: Send) -> None:
    """Calls, and an answer for what isn't one."""
    entry: AsgiEntry = scope["app"].state.entry
    await entry(scope, receive, send)


async def live(request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def ready(request: Request) -> Response:
    runtime: Runtime = request.app.state.runtime
    return PlainTextResponse("ready\n" if runtime.is_ready else "journal\n", 200 if runtime.is_ready else 503)


async def scrape(request: Request) -> Response:
    """The metrics of all workers; what the other workers add may be a second old."""
    runtime: Runtime = request.app.state.runtime
    runtime.metrics.hand_over()
    return Response(await asyncio.to_thread(metrics.render), media_type=metrics.CONTENT_TYPE)
