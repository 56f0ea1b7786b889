"""Queries that stand apart from queries.sql: each is one that the server takes, and none is unused."""

import pytest
from ams_common.database import Database
from ams_common.queries import QueryStore
from billing_svc.documents.store import DocumentStore
from billing_svc.proofs.store import ProofStore
from billing_svc.reconciliation_store import ReconciliationStore
from billing_svc.simulation_store import SimulationStore


@pytest.mark.parametrize("store", [DocumentStore, ProofStore, ReconciliationStore, SimulationStore])
async def test_every_query_is_used_and_one_that_the_server_takes(
    database: Database, store: type[QueryStore]
) -> None:
    assert store.declared() == set(store.queries.names())
    async with database.connection() as connection:
        for name in store.queries.names():
            await store.queries.prepare(connection, name)
