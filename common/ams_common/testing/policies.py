"""Calls every RPC of a service with each role and with none, and tells who was let in."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from ams_common.ids import uuid7
from ams_common.processes import PROCESSES
from ams_common.testing.tokens import TestIssuer

_PROCESSES = [process.folder for process in PROCESSES.values()]
EVERYBODY = frozenset({"nobody", "admin", "merchant", "consumer", *_PROCESSES})
_DENIED = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)


async def callers_let_in(
    channel: grpc.aio.Channel, descriptor: ServiceDescriptor, issuer: TestIssuer
) -> Mapping[str, set[str]]:
    """For each RPC the callers that got past the policy, of EVERYBODY. The requests are empty: what is let
    in is answered or refused for its fields."""
    tokens = {
        "nobody": None,
        "admin": issuer.user_token(uuid7(), ADMIN),
        "merchant": issuer.user_token(uuid7(), MERCHANT),
        "consumer": issuer.user_token(uuid7(), CONSUMER),
        **{name: issuer.service_token(name) for name in _PROCESSES},
    }
    let_in: dict[str, set[str]] = {}
    for method in descriptor.methods:
        path = f"/{descriptor.full_name}/{method.name}"
        request_type, answer_type = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        codecs = (request_type.SerializeToString, answer_type.FromString)
        # Of a stream the first answer tells.
        call = (
            _first_of(channel.unary_stream(path, *codecs))
            if method.server_streaming
            else channel.unary_unary(path, *codecs)
        )
        let_in[method.name] = {
            name for name, token in tokens.items() if await _is_let_in(call, request_type(), token)
        }
    return let_in


def _first_of(stream: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        answers = stream(*args, **kwargs)
        try:
            return await answers.read()
        finally:
            answers.cancel()

    return call


async def _is_let_in(call: object, request: object, token: str | None) -> bool:
    metadata = (("authorization", f"Bearer {token}"),) if token is not None else ()
    try:
        await call(request, metadata=metadata, timeout=10)  # type: ignore[operator]
    except grpc.aio.AioRpcError as error:
        return error.code() not in _DENIED
    return True
