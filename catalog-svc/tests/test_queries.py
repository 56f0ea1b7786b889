"""The SQL of queries.sql."""

from ams_common.database import Database
from catalog_svc.store import Store


async def test_the_server_accepts_every_named_query_and_the_store_declares_it(database: Database) -> None:
    assert len(Store.queries.names()) > 10
    async with database.connection() as connection:
        for name in Store.queries.names():
            await Store.queries.prepare(connection, name)
    assert set(Store.queries.names()) == Store.declared()
