"""An RPC whose transaction PostgreSQL has ended as one of a circle is served once more."""

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import asyncpg
import pytest
from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1 import keys_service_pb2_grpc as rpc
from ams.policy.v1.policy_pb2 import CONSUMER
from ams.usage.v1 import usage_service_pb2 as usage
from ams.usage.v1 import usage_service_pb2_grpc as usage_rpc
from ams_common.client import invoke, listen
from ams_common.database import Database
from ams_common.errors import InternalError
from ams_common.ids import uuid7
from ams_common.testing.plugin import Serve
from ams_common.testing.tokens import TestIssuer

KEYS = pb.DESCRIPTOR.services_by_name["KeysService"]
USAGE = usage.DESCRIPTOR.services_by_name["UsageService"]


class Circle(rpc.KeysServiceServicer):
    """RevokeKey takes two locks, in an order of its own for each of two keys, and the second when both calls
    have their first. GetKey is always undone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keys: list[str] = []
        self._have_one = asyncio.Barrier(2)
        self.served = 0

    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: object) -> pb.Key:
        self.served += 1
        is_new = request.key_id not in self._keys
        if is_new:
            self._keys.append(request.key_id)
        order = (1, 2) if request.key_id == self._keys[0] else (2, 1)
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", order[0])
            if is_new:
                await self._have_one.wait()
            await connection.execute("SELECT pg_advisory_xact_lock($1)", order[1])
        return pb.Key(key_id=request.key_id)

    async def GetKey(self, request: pb.GetKeyRequest, context: object) -> pb.Key:
        self.served += 1
        raise asyncpg.DeadlockDetectedError


class Stream(usage_rpc.UsageServiceServicer):
    """Is undone when it has answered once."""

    async def WatchConsumerUsage(
        self, request: usage.GetUsageRequest, context: object
    ) -> AsyncGenerator[usage.UsageReport, None]:
        yield usage.UsageReport()
        raise asyncpg.DeadlockDetectedError


@pytest.fixture
def circle(database: Database) -> Circle:
    Circle.__abstractmethods__ = frozenset()  # the other RPCs are not called
    return Circle(database)  # type: ignore[abstract]


@pytest.fixture
async def keys(circle: Circle, serve_rpc: Serve) -> rpc.KeysServiceStub:
    return rpc.KeysServiceStub(await serve_rpc(KEYS, partial(rpc.add_KeysServiceServicer_to_server, circle)))


async def test_of_two_that_wait_for_each_other_both_are_served(
    circle: Circle, keys: rpc.KeysServiceStub, issuer: TestIssuer
) -> None:
    token, ids = issuer.user_token(uuid7(), CONSUMER), [str(uuid7()) for _ in range(2)]
    calls = (invoke(keys.RevokeKey, pb.RevokeKeyRequest(key_id=each), token=token) for each in ids)
    assert [key.key_id for key in await asyncio.gather(*calls)] == ids
    assert circle.served == 3


async def test_what_is_undone_again_fails(
    circle: Circle, keys: rpc.KeysServiceStub, issuer: TestIssuer
) -> None:
    token = issuer.user_token(uuid7(), CONSUMER)
    with pytest.raises(InternalError):
        await invoke(keys.GetKey, pb.GetKeyRequest(key_id=str(uuid7())), token=token)
    assert circle.served == 2


async def test_a_stream_that_has_answered_does_not_begin_again(serve_rpc: Serve, issuer: TestIssuer) -> None:
    Stream.__abstractmethods__ = frozenset()
    add: Any = partial(usage_rpc.add_UsageServiceServicer_to_server, Stream())  # type: ignore[abstract]
    stub, token = (
        usage_rpc.UsageServiceStub(await serve_rpc(USAGE, add)),
        issuer.user_token(uuid7(), CONSUMER),
    )
    answers = []
    with pytest.raises(InternalError):
        async for answer in listen(stub.WatchConsumerUsage, usage.GetUsageRequest(), token=token):
            answers.append(answer)
    assert len(answers) == 1
