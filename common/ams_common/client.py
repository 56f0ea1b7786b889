"""gRPC channels to our services: deadlines, request ids, tokens, and errors of the one family."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import grpc
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import identity_service_pb2_grpc as rpc

from ams_common.clients import forwarding_metadata
from ams_common.context import current_request_id
from ams_common.errors import from_rpc_error
from ams_common.interceptors import REQUEST_ID
from ams_common.loops import run_forever
from ams_common.tokens import JwksKeySource

T = TypeVar("T")

DEADLINE_S = 5.0
_RENEW_BEFORE_S = 60.0
_KEEP_S = 5.0

_OPTIONS = [
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.keepalive_time_ms", 30_000),
]


def open_channel(address: str, *, is_apart: bool = False) -> grpc.aio.Channel:
    """A channel that reconnects within a second of its peer's return.

    Channels to one address share their connections, and so the pause after a failed attempt. One that is
    apart doesn't: for what asks again and again in the background, so that what it meets while its peer is
    still starting doesn't keep a caller waiting.
    """
    apart = [("grpc.use_local_subchannel_pool", 1)] if is_apart else []
    return grpc.aio.insecure_channel(address, options=[*_OPTIONS, *apart])


async def invoke(
    method: Callable[..., Awaitable[T]],
    request: Any,
    *,
    token: str | None = None,
    request_id: str | None = None,
    timeout_s: float = DEADLINE_S,
) -> T:
    """Call a stub's method with a deadline, the present request id and an access token.

    Raises AppError: what the peer meant, or unavailable or deadline_exceeded.
    """
    try:
        return await method(request, metadata=_metadata(token, request_id), timeout=timeout_s)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


async def listen(
    method: Callable[..., AsyncIterable[T]],
    request: Any,
    *,
    token: str | None = None,
    request_id: str | None = None,
    timeout_s: float | None = None,
) -> AsyncGenerator[T, None]:
    """Call a stub's method that answers with a stream, and give what comes. Whoever doesn't listen to the
    end closes the generator, which hangs up.

    Raises AppError as `invoke` does; unauthenticated token_expired when the token has ended: go on with a
    new one.
    """
    answers = method(request, metadata=_metadata(token, request_id), timeout=timeout_s)
    try:
        async for answer in answers:
            yield answer
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    finally:
        # The rest of a stream that nobody reads would be kept in memory.
        cancel: Any = answers
        cancel.cancel()


def _metadata(token: str | None, request_id: str | None) -> tuple[tuple[str, str], ...]:
    named = request_id or current_request_id()
    metadata = (*(((REQUEST_ID, named),) if named else ()), *forwarding_metadata())
    return metadata if token is None else (*metadata, ("authorization", f"Bearer {token}"))


def jwks_of(channel: grpc.aio.Channel) -> JwksKeySource:
    """The public keys of identity-svc, over `channel`."""
    stub = rpc.IdentityServiceStub(channel)

    async def fetch() -> str:
        return (await invoke(stub.GetJwks, pb.GetJwksRequest())).jwks_json

    return JwksKeySource(fetch)


class ServiceToken:
    """This service's own access token, fetched from identity-svc when needed and kept while good."""

    def __init__(self, channel: grpc.aio.Channel, service: str, secret: str) -> None:
        self._stub = rpc.IdentityServiceStub(channel)
        self._request = pb.IssueServiceTokenRequest(service=service, secret=secret)
        self._token = ""
        self._renew_at_s = 0.0
        self._renewing = asyncio.Lock()

    async def keep(self) -> None:
        """For ever: has one at hand, for whom can't wait while identity-svc is away."""
        await run_forever("service token", self.get, _KEEP_S)

    @property
    def held(self) -> str:
        """The one at hand; "" for none."""
        return self._token if time.time() < self._renew_at_s + _RENEW_BEFORE_S else ""

    async def get(self) -> str:
        """A token that is good for a minute at least. Raises AppError when none can be had."""
        if time.time() < self._renew_at_s:
            return self._token
        async with self._renewing:
            if time.time() >= self._renew_at_s:
                response = await invoke(self._stub.IssueServiceToken, self._request)
                expires_at: datetime = response.expires_at.ToDatetime(tzinfo=UTC)
                self._token, self._renew_at_s = (
                    response.access_token,
                    expires_at.timestamp() - _RENEW_BEFORE_S,
                )
        return self._token
