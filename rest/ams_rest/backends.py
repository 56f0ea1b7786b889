"""The calls to the services: one channel each, requests passed on with the caller's own token."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
from ams_common.client import open_channel
from ams_common.clients import forwarding_metadata
from ams_common.context import current_request_id
from ams_common.errors import NotFoundError, UnauthenticatedError, from_rpc_error
from ams_common.interceptors import REQUEST_ID
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ams_rest.areas import AREAS, Area
from ams_rest.deadlines import Deadlines

_HEALTH_DEADLINE_S = 2.0
# What gRPC metadata can carry; a token of ours has less than a thousand characters.
_AUTHORIZATION = re.compile(r"[\x20-\x7e]{1,4096}")


class Backends:
    """The gRPC services that REST calls, by the process that serves them."""

    def __init__(self, channels: Mapping[str, grpc.aio.Channel], deadlines: Deadlines) -> None:
        self.channels = channels
        self.deadlines = deadlines

    async def call(
        self, area: Area, rpc: MethodDescriptor, request: Message, authorization: str | None
    ) -> Any:
        """The service's answer. Raises AppError: what the service says, unavailable or deadline_exceeded, or
        route_not_found where the request names a process that there is none of."""
        process = area.process_of(request)
        if process not in self.channels:
            raise NotFoundError("route_not_found", "There is nothing at this path.")
        metadata = [(REQUEST_ID, current_request_id()), *forwarding_metadata()]
        if authorization is not None:
            metadata.append(("authorization", _checked(authorization)))
        call: Any = self.channels[process].unary_unary(
            f"/{area.service.full_name}/{rpc.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(rpc.output_type).FromString,
        )

        async def invoke(timeout_s: float) -> Any:
            try:
                return await call(request, metadata=tuple(metadata), timeout=timeout_s)
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error) from error

        return await self.deadlines.ask(process, rpc.name, invoke)

    async def health(self) -> dict[str, str]:
        """Each process' health by its own word, or "unreachable"."""
        areas = [area for area in AREAS if area.name == area.process]
        states = await asyncio.gather(*(self._health_of(area) for area in areas))
        return {area.process: state for area, state in zip(areas, states, strict=True)}

    async def _health_of(self, area: Area) -> str:
        stub = health_pb2_grpc.HealthStub(self.channels[area.process])
        request = health_pb2.HealthCheckRequest(service=area.service.full_name)
        try:
            answer = await stub.Check(request, timeout=_HEALTH_DEADLINE_S)
        except grpc.aio.AioRpcError:
            return "unreachable"
        state: str = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status).lower()
        return state


@asynccontextmanager
async def open_backends(addresses: Mapping[str, str], deadlines: Deadlines) -> AsyncIterator[Backends]:
    """Channels to the processes at `addresses` ("host:port" by the process' name), closed at the end."""
    async with AsyncExitStack() as stack:
        yield Backends(
            {
                process: await stack.enter_async_context(open_channel(address))
                for process, address in addresses.items()
            },
            deadlines,
        )


def _checked(authorization: str) -> str:
    if not _AUTHORIZATION.fullmatch(authorization):
        raise UnauthenticatedError("token_invalid", "Send the access token as a bearer token.")
    return authorization
