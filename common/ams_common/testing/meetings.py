"""Transactions that meet on the same rows, arranged or by chance (docs/locks.md)."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc

from ams_common.database import Database
from ams_common.errors import AppError, InternalError, from_rpc_error
from ams_common.testing.eventually import eventually


@asynccontextmanager
async def held(database: Database, query: str, *arguments: Any) -> AsyncIterator[None]:
    """What the query locks is locked for as long as the block lasts."""
    async with database.connection() as connection, connection.transaction():
        await connection.fetch(query, *arguments)
        yield


async def begin(database: Database, *calls: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    """Begins the calls, each once the one before it waits for a lock; returns when all wait."""
    begun: list[asyncio.Task[Any]] = []
    for call in calls:
        begun.append(asyncio.create_task(call))

        async def all_wait() -> bool:
            async with database.connection() as connection:
                waiting = await connection.fetchval(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
            return bool(waiting == len(begun))

        await eventually(all_wait)
    return begun


async def mingle(
    actions: Sequence[Callable[[], Awaitable[Any]]], *, callers: int = 16, each: int = 8, seed: int = 7
) -> int:
    """Many at once take any of the actions, each several, and may be refused. How many were not.

    Raises what one failed with otherwise.
    """
    chosen = random.Random(seed)  # noqa: S311 - nothing secret
    turns = [[chosen.choice(actions) for _ in range(each)] for _ in range(callers)]

    async def take(turn: Sequence[Callable[[], Awaitable[Any]]]) -> int:
        done = 0
        for act in turn:
            try:
                await act()
            except (AppError, grpc.aio.AioRpcError) as error:
                told = error if isinstance(error, AppError) else from_rpc_error(error)
                if isinstance(told, InternalError):
                    raise
                continue
            done += 1
        return done

    return sum(await asyncio.gather(*map(take, turns)))
