"""Waiting for what a committed transaction announces (PostgreSQL NOTIFY), or for a while."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

_CONNECT_TIMEOUT_S = 10.0


class Wakeups:
    """The notifications `<name>_<schema>` of a service's schema; the end of the connection wakes too."""

    def __init__(self) -> None:
        self._heard = asyncio.Event()

    @classmethod
    async def on(cls, connection: asyncpg.Connection, name: str) -> "Wakeups":
        """Heard on this connection as long as it lasts."""
        wakeups = cls()
        schema = await connection.fetchval("SELECT current_schema()")
        await connection.add_listener(f"{name}_{schema}", lambda *_: wakeups._heard.set())
        connection.add_termination_listener(lambda *_: wakeups._heard.set())
        return wakeups

    @classmethod
    @asynccontextmanager
    async def open(cls, database_url: str, name: str) -> AsyncIterator["Wakeups"]:
        """On a connection of their own. Raises what asyncpg raises when it can't be made."""
        connection = await asyncpg.connect(database_url, timeout=_CONNECT_TIMEOUT_S)
        try:
            yield await cls.on(connection, name)
        finally:
            await connection.close(timeout=5)

    def clear(self) -> None:
        """Forget what was heard: before looking for work, so that what comes meanwhile counts."""
        self._heard.clear()

    async def wait(self, timeout_s: float) -> None:
        """Until something is announced, at most `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._heard.wait()
