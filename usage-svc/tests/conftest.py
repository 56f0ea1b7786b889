"""What the tests of usage-svc share."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import grpc
import pytest
from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams.usage.v1.events_pb2 import UsageEvent
from ams_common.database import Database
from ams_common.queries import Queries
from ams_common.testing.plugin import Schema
from usage_svc.consumers import Ingest
from usage_svc.service import UsageService
from usage_svc.store import Store


@pytest.fixture(scope="session")
def schema() -> Schema:
    return Schema("usage", "usage_svc")


@pytest.fixture(scope="session")
def store() -> Store:
    return Store(Queries.load("usage_svc"))


IngestBatch = Callable[[Sequence[UsageEvent]], Awaitable[None]]


@pytest.fixture
def ingest(database: Database, store: Store) -> IngestBatch:
    """Handles one batch as the consumer does, in a transaction of its own."""

    async def handle(batch: Sequence[UsageEvent]) -> None:
        async with database.change_by_system("consume", audited=False) as change:
            await Ingest(store).handle(change, batch)

    return handle


@pytest.fixture
async def channel(
    serve_rpc: Callable[..., Awaitable[grpc.aio.Channel]], database: Database, store: Store
) -> grpc.aio.Channel:
    """To the real server, on this test's database."""
    add = partial(rpc.add_UsageServiceServicer_to_server, UsageService(database, store))
    return await serve_rpc(pb.DESCRIPTOR.services_by_name["UsageService"], add)


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> rpc.UsageServiceStub:
    return rpc.UsageServiceStub(channel)
