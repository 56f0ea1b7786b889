"""The SQL of queries.sql."""

from ams_common.database import Database
from ams_common.queries import Queries


async def test_the_server_accepts_every_named_query(database: Database) -> None:
    queries = Queries.load("catalog_svc")
    assert len(queries.names()) > 10
    async with database.pool.acquire() as connection:
        for name in queries.names():
            await queries.prepare(connection, name)
