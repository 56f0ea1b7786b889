"""What operators ask a worker on a port of their own: does it live, may calls come, what are its metrics."""

import asyncio
import socket

from ams_common import metrics
from ams_common.web import serve_asgi
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ams_gateway.metrics import MetricsExport
from ams_gateway.runtime import Runtime
from ams_gateway.tasks import end_task


def operator_app(runtime: Runtime, export: MetricsExport) -> Starlette:
    async def live(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(request: Request) -> Response:
        reason = runtime.unready_because
        return PlainTextResponse(f"{reason or 'ready'}\n", 503 if reason else 200)

    async def scrape(request: Request) -> Response:
        """The metrics of all workers; what the other workers add may be a second old."""
        export.hand_over()
        return Response(await asyncio.to_thread(metrics.render), media_type=metrics.CONTENT_TYPE)

    return Starlette(routes=[Route("/healthz", live), Route("/readyz", ready), Route("/metrics", scrape)])


class OperatorServer:
    """Serves while open: before calls are taken, and until the journal is empty."""

    def __init__(self, runtime: Runtime, export: MetricsExport, listener: socket.socket) -> None:
        self._app = operator_app(runtime, export)
        self._listener = listener
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        serving = serve_asgi(self._app, self._listener, stop_grace_s=1, handles_signals=False)
        self._task = asyncio.create_task(serving)

    async def close(self) -> None:
        if self._task is not None:
            await end_task(self._task)
