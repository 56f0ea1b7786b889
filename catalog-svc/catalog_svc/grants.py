"""The client of keys-svc, which knows who has access to what."""

from uuid import UUID

from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1 import keys_service_pb2_grpc as rpc
from ams_common.client import ServiceToken, invoke
from ams_common.errors import AppError, DeadlineExceededError, UnavailableError


class GrantsError(Exception):
    """keys-svc or identity-svc refused catalog-svc itself: a fault of the deployment, not the caller's."""


class Grants:
    """Asks keys-svc with the service token of catalog-svc."""

    def __init__(self, stub: rpc.KeysServiceStub, token: ServiceToken) -> None:
        self._stub = stub
        self._token = token

    async def granted_services(self, consumer_id: UUID) -> set[UUID]:
        """The services that the consumer has a grant for. Raises UnavailableError, DeadlineExceededError and
        GrantsError."""
        request = pb.ListGrantedServicesRequest(consumer_id=str(consumer_id))
        try:
            answer = await invoke(self._stub.ListGrantedServices, request, token=await self._token.get())
        except (UnavailableError, DeadlineExceededError):
            raise
        except AppError as error:
            raise GrantsError(error.code) from error
        return {UUID(service_id) for service_id in answer.service_ids}
