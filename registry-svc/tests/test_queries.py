from ams_common.database import Database
from ams_common.queries import Queries
from registry_svc.storage.store import Store


async def test_every_query_can_be_prepared_and_is_a_method_of_the_store(database: Database) -> None:
    queries = Queries.load("registry_svc.storage")
    async with database.pool.acquire() as connection:
        for name in queries.names():
            await queries.prepare(connection, name)
    # One step of another method.
    assert {name for name in queries.names() if not hasattr(Store, name)} == {"add_repository"}
