"""Redis as operators run it, for tests: with a configuration of its own, as a cluster, behind TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from ams_common import ports
from ams_common.testing.eventually import eventually
from redis.asyncio import Redis

from ams_local.daemons import Daemon
from ams_local.redis import find_program

_CLUSTER = "cluster-enabled yes\ncluster-node-timeout 2000\n"
_SLOTS = 16384


@asynccontextmanager
async def serve_redis(
    directory: Path, port: int, *arguments: str, config: str = "", name: str = "redis"
) -> AsyncIterator[None]:
    """A redis-server, once it listens."""
    home = directory / f"{name}-{port}"
    home.mkdir()
    (home / "redis.conf").write_text(
        f'port {port}\nbind 127.0.0.1\nsave ""\nappendonly no\ndir {home}\n{config}'
    )
    command = [find_program(), str(home / "redis.conf"), *arguments]
    daemon = Daemon(name, command, log=home / "log", directory=home)
    try:
        await asyncio.to_thread(daemon.wait_until, lambda: ports.is_listening(port), 30)
        yield
    finally:
        await asyncio.to_thread(daemon.stop)


@asynccontextmanager
async def serve_cluster(directory: Path) -> AsyncIterator[Sequence[int]]:
    """A cluster of three, once it is whole: their ports."""
    # Each node talks to the others on a port ten thousand higher.
    nodes = [port for port in ports.free_ports(12) if ports.is_free(port + 10_000)][:3]
    async with AsyncExitStack() as stack:
        for port in nodes:
            await stack.enter_async_context(serve_redis(directory, port, config=_CLUSTER))
        for index, port in enumerate(nodes):
            node: Any
            async with Redis(port=port) as node:
                first, last = _SLOTS * index // 3, _SLOTS * (index + 1) // 3 - 1
                await node.execute_command("CLUSTER", "ADDSLOTS", *range(first, last + 1))
                for other in nodes[:index]:
                    await node.execute_command("CLUSTER", "MEET", "127.0.0.1", other)

        async def is_whole() -> bool:
            for port in nodes:
                node: Any
                async with Redis(port=port) as node:
                    info: bytes = await node.execute_command("CLUSTER", "INFO")
                    if b"cluster_state:ok" not in info or b"cluster_known_nodes:3" not in info:
                        return False
            return True

        await eventually(is_whole)
        yield nodes


def cluster_url(nodes: Sequence[int]) -> str:
    """The address of a cluster, by two of its nodes."""
    return "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in nodes[:2])


@asynccontextmanager
async def serve_tls(certificate: Path, behind: int) -> AsyncIterator[int]:
    """Ends TLS before a server, for the wheel's redis-server is built without: the port on localhost."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)

    relaying: set[asyncio.Task[None]] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        relaying.add(task)
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", behind)

        async def copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
            try:
                while piece := await source.read(65536):
                    to.write(piece)
                    await to.drain()
            except ConnectionError:
                pass
            finally:
                to.close()

        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
        # Who is connected still, as a process that is ended later, would keep its relay for ever.
        for task in relaying:
            task.cancel()
        await asyncio.gather(*relaying, return_exceptions=True)
