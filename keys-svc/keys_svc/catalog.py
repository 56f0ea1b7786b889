"""The client of catalog-svc."""

from uuid import UUID

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import catalog_service_pb2_grpc as rpc
from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams_common.client import ServiceToken, invoke
from ams_common.errors import AppError, DeadlineExceededError, NotFoundError, UnavailableError


class CatalogError(Exception):
    """catalog-svc or identity-svc refused keys-svc itself: a fault of the deployment, not the caller's."""


class Catalog:
    """Calls catalog-svc with the service token of keys-svc."""

    def __init__(self, stub: rpc.CatalogServiceStub, token: ServiceToken) -> None:
        self._stub = stub
        self._token = token

    async def find_service(self, service_id: UUID, consumer_id: UUID) -> ServiceSnapshot | None:
        """The service with this id in whatever state; None when there is none, or a private one that the
        consumer wasn't invited to.

        Raises UnavailableError, DeadlineExceededError and CatalogError.
        """
        request = pb.GetServiceSnapshotRequest(service=str(service_id), viewer_id=str(consumer_id))
        try:
            snapshot = await invoke(self._stub.GetServiceSnapshot, request, token=await self._token.get())
        except NotFoundError:
            return None
        except (UnavailableError, DeadlineExceededError):
            raise
        except AppError as error:
            raise CatalogError(error.code) from error
        # The RPC takes slugs too, and a slug may look like an id: another service's would be found.
        return snapshot if snapshot.service_id == str(service_id) else None
