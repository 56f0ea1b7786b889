"""Stand-ins for the services that own what the gateway has snapshots of, each behind a link."""

import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.identity.v1 import identity_service_pb2 as identity_pb
from ams.identity.v1 import identity_service_pb2_grpc as identity_rpc
from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.keys.v1 import keys_service_pb2_grpc as keys_rpc
from ams.keys.v1.events_pb2 import KeySnapshot
from ams_common.errors import NotFoundError, to_grpc_status

from ams_gateway.testing.links import Link


class Identity(identity_rpc.IdentityServiceServicer):
    """Issues tokens that are to be renewed at once."""

    async def IssueServiceToken(
        self, request: identity_pb.IssueServiceTokenRequest, context: Any
    ) -> identity_pb.IssueServiceTokenResponse:
        response = identity_pb.IssueServiceTokenResponse(access_token="token")  # noqa: S106 - a stand-in's
        response.expires_at.FromDatetime(datetime.now(UTC) + timedelta(seconds=30))
        return response


class Keys(keys_rpc.KeysServiceServicer):
    """Answers from a table, as keys-svc does from its own."""

    def __init__(self) -> None:
        self.snapshots: dict[bytes, KeySnapshot] = {}

    async def GetKeySnapshot(self, request: keys_pb.GetKeySnapshotRequest, context: Any) -> KeySnapshot:
        if request.key_hash not in self.snapshots:
            await context.abort_with_status(to_grpc_status(NotFoundError("key_not_found", "No such key.")))
        return self.snapshots[request.key_hash]

    async def CheckKeySnapshots(
        self, request: keys_pb.CheckKeySnapshotsRequest, context: Any
    ) -> keys_pb.CheckKeySnapshotsResponse:
        answer = keys_pb.CheckKeySnapshotsResponse()
        for held in request.held:
            snapshot = self.snapshots.get(held.key_hash)
            if snapshot is None:
                answer.missing.append(held.key_hash)
            elif snapshot.version != held.version:
                answer.changed.add(key_hash=held.key_hash, snapshot=snapshot)
        return answer


class Services(catalog_rpc.CatalogServiceServicer):
    """Answers from a table, by slug or id."""

    def __init__(self) -> None:
        self.snapshots: dict[str, ServiceSnapshot] = {}

    async def GetServiceSnapshot(
        self, request: catalog_pb.GetServiceSnapshotRequest, context: Any
    ) -> ServiceSnapshot:
        if request.service not in self.snapshots:
            await context.abort_with_status(to_grpc_status(NotFoundError("service_not_found", "No such.")))
        return self.snapshots[request.service]

    async def CheckServiceSnapshots(
        self, request: catalog_pb.CheckServiceSnapshotsRequest, context: Any
    ) -> catalog_pb.CheckServiceSnapshotsResponse:
        answer = catalog_pb.CheckServiceSnapshotsResponse()
        for held in request.held:
            snapshot = self.snapshots.get(held.service)
            if snapshot is None:
                answer.missing.append(held.service)
            elif snapshot.version != held.version:
                answer.changed.append(snapshot)
        return answer


@contextlib.asynccontextmanager
async def serve(add: Callable[[Any, grpc.aio.Server], None], servicer: Any) -> AsyncIterator[Link]:
    """A gRPC server behind a link."""
    server = grpc.aio.server()
    add(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with Link("127.0.0.1", port).open() as link:
            yield link
    finally:
        await server.stop(None)
