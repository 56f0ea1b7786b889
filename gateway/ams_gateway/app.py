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

from ams_gateway.access.snapshot_cache import Source
from ams_gateway.runtime import Runtime, connect_sources
from ams_gateway.server.asgi_entry import AsgiEntry
from ams_gateway.server.consume_protocol import ConsumeProtocol
from ams_gateway.server.protocol import GatewayProtocol, Timeouts
from ams_gateway.settings import Settings


def create() -> AsgiEntry:
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
        "http": ConsumeProtocol if settings.consume_protocol else GatewayProtocol,
        "ws": "none",
        "lifespan": "on",
        # The upstream's own Date and Server pass; ours would stand beside them.
        "date_header": False,
        "server_header": False,
        "access_log": False,
        "log_config": None,
        "proxy_headers": False,
        "timeout_graceful_shutdown": int(settings.drain_s),
    }


def build(settings: Settings, sources: tuple[Source, Source] | None = None) -> AsgiEntry:
    """`sources`: where keys and services come from that Redis lacks; None: keys-svc and catalog-svc."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        runtime = Runtime(settings, *(sources or connect_sources(settings)))
        await runtime.open()
        app.state.runtime = entry.runtime = runtime
        try:
            # uvicorn hands this to the protocol of each connection.
            yield {
                "gateway": runtime.gateway,
                "max_header_bytes": settings.max_header_bytes,
                "timeouts": Timeouts(
                    settings.head_timeout_s,
                    settings.body_timeout_s,
                    settings.write_timeout_s,
                    settings.idle_timeout_s,
                ),
            }
        finally:
            await runtime.close()

    app = Starlette(
        routes=[
            Route("/healthz", live),
            Route("/readyz", ready),
            Route("/metrics", scrape),
        ],
        lifespan=lifespan,
    )
    entry = AsgiEntry(app, max_header_bytes=settings.max_header_bytes)
    return entry


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
