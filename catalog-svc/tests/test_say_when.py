"""Whatever takes a service from its consumers, or a key from those who know it, tells when it holds: at once
where Redis could be told, else by when gateways have asked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from ams.catalog.v1 import (
    catalog_service_pb2,
    discovery_service_pb2,
    invitation_service_pb2,
    lifecycle_service_pb2,
    openapi_service_pb2,
    revision_service_pb2,
)
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.policy.v1.policy_pb2 import rule
from ams_common.clock import from_timestamp, utc_now
from ams_common.database import Database
from ams_common.outbox import Deliveries, OutboxRelay, RedisDestination
from catalog_svc.store import Store
from catalog_svc.testing import Catalog
from redis.asyncio import Redis

SERVICES = [
    service
    for module in (
        *(catalog_service_pb2, discovery_service_pb2, invitation_service_pb2),
        *(lifecycle_service_pb2, openapi_service_pb2, revision_service_pb2),
    )
    for service in module.DESCRIPTOR.services_by_name.values()
]
TAKING = ("SuspendService", "WithdrawService", "RetireService", "RotateSigningKey", "UseSigningKey")
OTHERS = {
    # Of what isn't called yet, or isn't any more.
    *("CreateService", "SubmitService", "ApproveService", "RejectService", "ReinstateService"),
    # What a merchant's own API is asked, and what the marketplace shows.
    *("UpdateService", "SetUpstreamCredential", "SetOpenapiDocument", "DeleteOpenapiDocument"),
    *("ApproveRevision", "RejectRevision", "WithdrawRevision", "SchedulePrice", "CancelPrice"),
    *("CreateInvitation", "RevokeInvitation", "AcceptInvitation"),
}


@pytest.fixture
def deliveries(database: Database[Store]) -> Deliveries:
    """As in the process; its patience is long enough for a machine that is busy."""
    return Deliveries(database, wait_s=5.0)


@pytest.fixture
def relaying(database_url: str) -> Callable[[Redis], AbstractAsyncContextManager[None]]:
    """`async with relaying(redis):` snapshots are delivered meanwhile."""

    @asynccontextmanager
    async def run(redis: Redis) -> AsyncIterator[None]:
        task = asyncio.create_task(OutboxRelay(database_url, RedisDestination(redis)).run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    return run


@pytest.fixture(params=TAKING)
async def take(request: pytest.FixtureRequest, catalog: Catalog) -> Callable[[], Awaitable[pb.Service]]:
    """One of TAKING, of a service that is called and signed for: the service in its answer."""
    merchant = await catalog.known_merchant()
    service_id = (await catalog.publish(merchant)).service_id
    rotate = catalog.stub.RotateSigningKey
    for _ in range(2):
        await merchant.call(rotate, pb.RotateSigningKeyRequest(service_id=service_id))
    lifecycle = lifecycle_service_pb2

    async def call() -> pb.Service:
        match request.param:
            case "SuspendService":
                suspension = lifecycle.SuspendServiceRequest(service_id=service_id, reason="Down")
                return await catalog.admin().call(catalog.lifecycle.SuspendService, suspension)
            case "WithdrawService":
                withdrawal = lifecycle.WithdrawServiceRequest(service_id=service_id)
                return await merchant.call(catalog.lifecycle.WithdrawService, withdrawal)
            case "RetireService":
                retirement = lifecycle.RetireServiceRequest(service_id=service_id)
                return await merchant.call(catalog.lifecycle.RetireService, retirement)
            case "UseSigningKey":
                use = pb.UseSigningKeyRequest(service_id=service_id)
                return await merchant.call(catalog.stub.UseSigningKey, use)
        leaked = pb.RotateSigningKeyRequest(service_id=service_id, at_once=True)
        return (await merchant.call(rotate, leaked)).service

    return call


def test_every_rpc_is_known_to_take_something_away_or_not_to() -> None:
    changing = {
        method.name
        for service in SERVICES
        for method in service.methods
        if method.GetOptions().Extensions[rule].audit
    }
    assert changing == set(TAKING) | OTHERS
    assert not set(TAKING) & OTHERS


async def test_what_redis_was_told_says_no_time(take: Any, relaying: Any, redis: Redis) -> None:
    async with relaying(redis):
        assert not (await take()).HasField("effective_by")


async def test_what_redis_could_not_be_told_says_by_when(
    take: Any, relaying: Any, nobody_listens: str, deliveries: Deliveries
) -> None:
    deliveries.wait_s = 0.2
    async with Redis.from_url(f"redis://{nobody_listens}") as away, relaying(away):
        answer = await take()
    assert answer.HasField("effective_by")
    remaining = from_timestamp(answer.effective_by) - utc_now()
    assert timedelta(seconds=30) < remaining <= timedelta(seconds=60)
