"""Where snapshots come from: Redis, and the owning service through gRPC behind it."""

import logging
from collections.abc import Awaitable, Callable

import grpc
from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.keys.v1 import keys_service_pb2_grpc as keys_rpc
from ams_common.client import ServiceToken, invoke
from ams_common.errors import AppError, InvalidArgumentError, NotFoundError
from ams_common.snapshots import key_snapshot_key, service_snapshot_key
from google.protobuf.message import Message

from ams_gateway.access.redis_pipe import RedisDownError, RedisPipe, pack
from ams_gateway.access.snapshot_cache import Source, SourceDownError

log = logging.getLogger(__name__)

# Owners write through on every change; this only bounds what nobody touches any more.
_KEPT_S = 86_400
_TIMEOUT_S = 1.0

KEY_PREFIX = key_snapshot_key(b"")
SERVICE_PREFIX = service_snapshot_key("")


class RedisSource:
    """Redis in front of `owner`. What the owner answers is put into Redis if nothing is there: the owner's
    own write, which may be newer, is never overwritten."""

    def __init__(self, pipe: RedisPipe, owner: Source) -> None:
        self._pipe = pipe
        self._owner = owner

    async def load(self, name: str) -> bytes | None:
        try:
            reply = await self._pipe.execute(pack("GET", name))
        except RedisDownError:
            return await self._owner.load(name)
        if isinstance(reply, bytes):
            return reply
        data = await self._owner.load(name)
        if data is not None:
            self._offer(name, data)
        return data

    def _offer(self, name: str, data: bytes) -> None:
        try:
            self._pipe.execute(pack("SET", name, data, "NX", "EX", str(_KEPT_S))).add_done_callback(
                lambda future: future.cancelled() or future.exception()
            )
        except RedisDownError:
            log.info("redis went away before a snapshot could be put there")


class KeysSvcSource:
    """Asks keys-svc, for the key with the hash that is in the name."""

    def __init__(self, channel: grpc.aio.Channel, token: ServiceToken) -> None:
        self._stub = keys_rpc.KeysServiceStub(channel)
        self._token = token

    async def load(self, name: str) -> bytes | None:
        request = keys_pb.GetKeySnapshotRequest(key_hash=bytes.fromhex(name.removeprefix(KEY_PREFIX)))
        return await _ask(self._stub.GetKeySnapshot, request, self._token)


class CatalogSvcSource:
    """Asks catalog-svc, for the service whose id or slug is in the name."""

    def __init__(self, channel: grpc.aio.Channel, token: ServiceToken) -> None:
        self._stub = catalog_rpc.CatalogServiceStub(channel)
        self._token = token

    async def load(self, name: str) -> bytes | None:
        request = catalog_pb.GetServiceSnapshotRequest(service=name.removeprefix(SERVICE_PREFIX))
        return await _ask(self._stub.GetServiceSnapshot, request, self._token)


async def _ask(
    method: Callable[..., Awaitable[Message]], request: Message, token: ServiceToken
) -> bytes | None:
    try:
        answer = await invoke(method, request, token=await token.get(), timeout_s=_TIMEOUT_S)
    except (NotFoundError, InvalidArgumentError):
        return None
    except AppError as error:
        raise SourceDownError(error.code) from error
    return answer.SerializeToString()
