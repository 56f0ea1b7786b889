import pytest
from ams_common.database import Database
from ams_common.queries import QueryStore
from keys_svc.access_store import AccessStore
from keys_svc.exposure_store import ExposureStore
from keys_svc.store import Store


@pytest.mark.parametrize("store", [Store, AccessStore, ExposureStore])
async def test_every_query_can_be_prepared_and_is_declared_in_the_store(
    store: type[QueryStore], database: Database[Store]
) -> None:
    async with database.connection() as connection:
        for name in store.queries.names():
            await store.queries.prepare(connection, name)
    assert set(store.queries.names()) == store.declared()
