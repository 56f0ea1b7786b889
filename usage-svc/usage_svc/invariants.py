"""What always holds of usage-svc's tables, for operators (`usage-svc check`) and for tests."""

import asyncio
import sys
from functools import partial

import asyncpg
from ams_common.process import settings_or_exit
from ams_common.queries import Queries
from ams_common.settings import load

from usage_svc.settings import Settings


async def find_broken(connection: asyncpg.Connection) -> dict[str, int]:
    """The invariants that don't hold, and how many rows break each."""
    queries = Queries.load("usage_svc", "invariants.sql")
    broken = {name: len(await queries.many(connection, name)) for name in queries.names()}
    return {name: rows for name, rows in broken.items() if rows}


def check() -> int:
    """Looks at the whole database as it is at one moment, and says what is broken; returns an exit code."""
    settings = settings_or_exit("usage-svc", partial(load, Settings, "USAGE"), serves_metrics=False)
    broken = asyncio.run(_check(settings.database_url))
    said = [f"{name}: {rows} rows break it" for name, rows in broken.items()]
    sys.stdout.write("\n".join(said or ["every invariant holds"]) + "\n")
    return 1 if broken else 0


async def _check(database_url: str) -> dict[str, int]:
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await find_broken(connection)
    finally:
        await connection.close()
