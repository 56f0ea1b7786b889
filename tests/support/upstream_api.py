"""A merchant's API: a real HTTP server that remembers what reached it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came in at the merchant's."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Upstream:
    """Answers every path with a fixed JSON object, and counts."""

    base_url: str = ""
    received: list[Received] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Keep what came, and say so."""
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.method, request.path_qs, headers, body))
        return web.json_response({"answer": 42}, headers={"X-Merchant": "yes"})


@asynccontextmanager
async def serving() -> AsyncIterator[Upstream]:
    """The server, on a port of its own."""
    upstream = Upstream()
    application = web.Application(client_max_size=16 * 1024 * 1024)
    application.router.add_route("*", "/{path:.*}", upstream.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    upstream.base_url = f"http://127.0.0.1:{port}/v1"
    yield upstream
    await runner.cleanup()
