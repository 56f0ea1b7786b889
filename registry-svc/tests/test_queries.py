from ams_common.database import Database
from registry_svc.storage.store import Store


async def test_every_query_can_be_prepared_and_is_declared_in_the_store(database: Database[Store]) -> None:
    async with database.connection() as connection:
        for name in Store.queries.names():
            await Store.queries.prepare(connection, name)
    assert set(Store.queries.names()) == Store.declared()
