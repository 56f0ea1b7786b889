"""The service as it is served, on a fresh database."""

from collections.abc import AsyncIterator

import grpc
import pytest
from ams.keys.v1.keys_service_pb2_grpc import KeysServiceStub
from ams_common.client import ServiceToken
from ams_common.database import Database
from ams_common.outbox import Deliveries
from ams_common.server import build_server
from ams_common.testing.plugin import Schema
from ams_common.testing.tokens import TestIssuer
from ams_common.tokens import TokenVerifier
from catalog_svc.grants import Grants
from catalog_svc.serving import services_of
from catalog_svc.store import Store
from catalog_svc.testing import CONSUME_URL, SEALER, Catalog, MovingClock


@pytest.fixture(scope="session")
def schema() -> Schema:
    return Schema("catalog", "catalog_svc", Store)


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
async def grants() -> AsyncIterator[Grants]:
    """keys-svc is away: only who isn't invited to a private service needs it."""
    async with grpc.aio.insecure_channel("127.0.0.1:1") as nowhere:
        yield Grants(KeysServiceStub(nowhere), ServiceToken(nowhere, "catalog-svc", "secret"))


@pytest.fixture
def deliveries(database: Database[Store]) -> Deliveries:
    # No relay delivers what most tests write: nothing is gained by waiting for it.
    return Deliveries(database, wait_s=0.01)


@pytest.fixture
async def channel(
    issuer: TestIssuer,
    database: Database[Store],
    clock: MovingClock,
    grants: Grants,
    deliveries: Deliveries,
) -> AsyncIterator[grpc.aio.Channel]:
    services = services_of(
        database=database,
        clock=clock,
        sealer=SEALER,
        grants=grants,
        deliveries=deliveries,
        allow_private_upstreams=False,
        consume_url=CONSUME_URL,
    )
    server = build_server(TokenVerifier(issuer), services)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(None)


@pytest.fixture
def catalog(
    channel: grpc.aio.Channel, database: Database[Store], issuer: TestIssuer, clock: MovingClock
) -> Catalog:
    return Catalog(channel, database, issuer, clock)
