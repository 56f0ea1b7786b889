"""The service as it is served, on a fresh database."""

from functools import partial

import grpc
import pytest
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import catalog_service_pb2_grpc as rpc
from ams_common.database import Database
from ams_common.testing.plugin import Schema, Serve
from ams_common.testing.tokens import TestIssuer
from catalog_svc.rpc import CatalogService
from catalog_svc.store import Store
from catalog_svc.testing import SEALER, Catalog, MovingClock


@pytest.fixture(scope="session")
def schema() -> Schema:
    return Schema("catalog", "catalog_svc", Store)


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
async def channel(serve_rpc: Serve, database: Database[Store], clock: MovingClock) -> grpc.aio.Channel:
    servicer = CatalogService(database=database, clock=clock, sealer=SEALER, allow_private_upstreams=False)
    return await serve_rpc(
        pb.DESCRIPTOR.services_by_name["CatalogService"],
        partial(rpc.add_CatalogServiceServicer_to_server, servicer),
    )


@pytest.fixture
def catalog(
    channel: grpc.aio.Channel, database: Database[Store], issuer: TestIssuer, clock: MovingClock
) -> Catalog:
    return Catalog(rpc.CatalogServiceStub(channel), database, issuer, clock)
