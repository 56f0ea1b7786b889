"""The service as it is served, on a fresh database."""

from functools import partial

import grpc
import pytest
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import catalog_service_pb2_grpc as rpc
from ams_common.database import Database
from ams_common.queries import Queries
from ams_common.testing.plugin import Schema, Serve
from ams_common.testing.tokens import TestIssuer
from catalog_svc.consumers import MerchantProjection
from catalog_svc.service import CatalogServicer
from catalog_svc.store import Store
from catalog_svc.testing import World


@pytest.fixture(scope="session")
def schema() -> Schema:
    return Schema("catalog", "catalog_svc")


@pytest.fixture
def store() -> Store:
    return Store(Queries.load("catalog_svc"))


@pytest.fixture
async def channel(serve_rpc: Serve, database: Database, store: Store) -> grpc.aio.Channel:
    servicer = CatalogServicer(database, store, allow_private_upstreams=False)
    return await serve_rpc(
        pb.DESCRIPTOR.services_by_name["CatalogService"],
        partial(rpc.add_CatalogServiceServicer_to_server, servicer),
    )


@pytest.fixture
def world(channel: grpc.aio.Channel, database: Database, store: Store, issuer: TestIssuer) -> World:
    return World(rpc.CatalogServiceStub(channel), database, MerchantProjection(store), issuer)
