"""A database of one's own for a benchmark, dropped at its end."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from ams_common.provision import make_extensions
from ams_common.testing.plugin import with_database


@asynccontextmanager
async def fresh_database(admin_url: str, schema: str) -> AsyncIterator[str]:
    """The URL of a new database with an empty schema of that name. `admin_url` is an administrator's.

    What fails leaves the database for whoever looks into it.
    """
    name = f"bench_{secrets.token_hex(4)}"
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        connection = await asyncpg.connect(with_database(admin_url, name))
        await connection.execute(f"CREATE SCHEMA {schema}")
        await make_extensions(connection, schema)
        await connection.close()
        yield f"{with_database(admin_url, name)}?search_path={schema}"
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()
