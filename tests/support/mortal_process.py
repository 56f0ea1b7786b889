"""A process that dies between two statements: what it had not committed is undone, and nothing is told."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from ams_common.database import Database
from ams_common.errors import AppError
from ams_common.queries import QueryStore

_STATEMENTS = ("fetch", "fetchrow", "fetchval", "execute", "executemany", "copy_to_table")


class DiedError(ConnectionError):
    """To the process the same as a database that is gone: nothing takes it for the fault of what it does."""


class MortalProcess:
    """Works on the databases that it opened."""

    def __init__(self) -> None:
        self._statements_left: int | None = None  # None: it lives on

    async def survive(self, statements: int | None, work: Callable[[], Awaitable[object]]) -> None:
        """Does `work`, dies behind so many statements of it, and does it again from its beginning: as the
        process that is started anew does. None: it doesn't die."""
        self._statements_left = statements
        try:
            await work()
        except (DiedError, AppError):
            if not self._is_dead:
                raise
        finally:
            is_dead, self._statements_left = self._is_dead, None
        if is_dead:
            await work()

    @property
    def _is_dead(self) -> bool:
        return self._statements_left is not None and self._statements_left < 0

    def count_statement(self) -> None:
        """Raises DiedError for the one that is too many, and for all that come after it."""
        if self._statements_left is not None:
            self._statements_left -= 1
            if self._is_dead:
                raise DiedError

    @asynccontextmanager
    async def open(
        self, url: str, store: Callable[[asyncpg.Connection], QueryStore], *, size: int = 5
    ) -> AsyncIterator[Database]:
        """As Database.open()."""
        async with asyncpg.create_pool(url, min_size=1, max_size=size) as pool:
            yield Database(_Pool(pool, self), store)


class _Pool:
    def __init__(self, pool: asyncpg.Pool, process: MortalProcess) -> None:
        self._pool, self._process = pool, process

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator["_Connection"]:
        async with self._pool.acquire() as connection:
            yield _Connection(connection, self._process)


class _Connection:
    def __init__(self, connection: Any, process: MortalProcess) -> None:
        self._connection, self._process = connection, process

    def __getattr__(self, name: str) -> Any:
        if name in _STATEMENTS:
            self._process.count_statement()
        return getattr(self._connection, name)
