"""The clients of the servers that registry-svc asks: catalog-svc and keys-svc."""

from typing import Any
from uuid import UUID

from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.keys.v1 import keys_service_pb2_grpc as keys_rpc
from ams.keys.v1.events_pb2 import KeySnapshot
from ams_common.client import ServiceToken, invoke
from ams_common.errors import AppError, DeadlineExceededError, NotFoundError, UnavailableError


class PeerError(Exception):
    """A peer refused registry-svc itself: a fault of the deployment, not the caller's."""


class PeerClients:
    """catalog-svc and keys-svc, called as registry-svc. All methods raise UnavailableError,
    DeadlineExceededError and PeerError."""

    def __init__(
        self, catalog: catalog_rpc.CatalogServiceStub, keys: keys_rpc.KeysServiceStub, token: ServiceToken
    ) -> None:
        self._catalog = catalog
        self._keys = keys
        self._token = token

    async def find_service(self, service_id: UUID) -> ServiceSnapshot | None:
        """Loads the service with this id in whatever state; None when there is none."""
        request = catalog_pb.GetServiceSnapshotRequest(service=str(service_id))
        snapshot: ServiceSnapshot | None = await self._ask(self._catalog.GetServiceSnapshot, request)
        # The RPC takes slugs too, and a slug may look like an id.
        return snapshot if snapshot is not None and snapshot.service_id == str(service_id) else None

    async def find_key(self, key_hash: bytes) -> KeySnapshot | None:
        """Loads the API key with this SHA-256 in whatever state; None when there is none."""
        request = keys_pb.GetKeySnapshotRequest(key_hash=key_hash)
        snapshot: KeySnapshot | None = await self._ask(self._keys.GetKeySnapshot, request)
        return snapshot

    async def granted_services(self, consumer_id: UUID) -> list[UUID]:
        """Lists the services that the consumer has a grant for."""
        request = keys_pb.ListGrantedServicesRequest(consumer_id=str(consumer_id))
        answer = await self._ask(self._keys.ListGrantedServices, request)
        return [UUID(service_id) for service_id in answer.service_ids] if answer is not None else []

    async def _ask(self, method: Any, request: Any) -> Any:
        try:
            return await invoke(method, request, token=await self._token.get())
        except NotFoundError:
            return None
        except (UnavailableError, DeadlineExceededError):
            raise
        except AppError as error:
            raise PeerError(error.code) from error
