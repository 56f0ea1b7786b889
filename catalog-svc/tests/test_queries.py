"""The SQL of the service's files."""

import pytest
from ams_common.database import Database
from ams_common.queries import QueryStore
from catalog_svc.marketplace_store import MarketplaceStore
from catalog_svc.store import Store


@pytest.mark.parametrize("store", [Store, MarketplaceStore])
async def test_the_server_accepts_every_named_query_and_the_store_declares_it(
    database: Database, store: type[QueryStore]
) -> None:
    assert len(store.queries.names()) > 5
    async with database.connection() as connection:
        for name in store.queries.names():
            await store.queries.prepare(connection, name)
    assert set(store.queries.names()) == store.declared()
