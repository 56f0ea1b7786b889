"""What the gateway uses of uvicorn beyond what that documents: a release without it fails here, by name."""

import asyncio
import contextlib
import inspect
import socket
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from ams_common.testing.eventually import eventually
from ams_gateway.server.connection import ConsumeProtocol
from ams_gateway.server.guarded import GuardedProtocol
from starlette.applications import Starlette
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.importer import import_from_string

GIVEN = ["config", "server_state", "app_state", "_loop"]


class Recorded(asyncio.Protocol):
    """Any protocol for `http=`."""

    def __init__(self, **given: Any) -> None:
        self.given = given
        self.was_told_to_end = False
        made.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.given["server_state"].connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.given["server_state"].connections.discard(self)

    def shutdown(self) -> None:
        self.was_told_to_end = True
        asyncio.get_running_loop().call_later(0.3, self.transport.close)


class Extended(uvicorn.Server):
    """As a worker's server is."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        steps.append("started")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        steps.append("ending")
        await super().shutdown(sockets)
        steps.append("ended")


made: list[Recorded] = []
steps: list[str] = []


async def test_a_server_gives_a_protocol_what_ours_take_and_waits_for_its_end() -> None:
    made.clear()
    steps.clear()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        yield {"gateway": "of the lifespan"}

    config = uvicorn.Config(
        Starlette(lifespan=lifespan),
        http=Recorded,
        ws="none",
        lifespan="on",
        log_config=None,
        timeout_graceful_shutdown=10,
    )
    server = Extended(config)
    listener = socket.create_server(("127.0.0.1", 0))
    # serve() would take over the test run's signals.
    serving = asyncio.create_task(server._serve(sockets=[listener]))

    async def has_started() -> bool:
        return server.started

    async def has_connection() -> bool:
        return bool(server.server_state.connections)

    await eventually(has_started)
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    await eventually(has_connection)
    (connection,) = made
    assert sorted(connection.given) == sorted(GIVEN)
    assert connection.given["app_state"] == {"gateway": "of the lifespan"}
    assert connection.given["server_state"].total_requests == 0
    server.should_exit = True
    assert await reader.read() == b""
    await serving
    assert connection.was_told_to_end
    assert steps == ["started", "ending", "ended"]
    writer.close()


def test_uvicorns_own_protocol_is_found_by_name_and_takes_the_same() -> None:
    served = import_from_string(HTTP_PROTOCOLS["h11"])
    for protocol in (served, ConsumeProtocol, GuardedProtocol):
        assert issubclass(protocol, asyncio.Protocol)
        assert list(inspect.signature(protocol).parameters) == GIVEN
    # Both are told to end by the server, and the guard tells the one that it wraps.
    assert callable(served.shutdown) and callable(ConsumeProtocol.shutdown)
