"""The RPCs by which a service leaves the marketplace, and comes back."""

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import lifecycle_service_pb2 as lifecycle_pb
from ams.catalog.v1 import lifecycle_service_pb2_grpc as rpc
from ams_common.interceptors import Context

from catalog_svc.rpc.locked_services import lock_any, lock_own
from catalog_svc.rpc.transitions import Transitions


class LifecycleService(Transitions, rpc.LifecycleServiceServicer):
    async def WithdrawService(
        self, request: lifecycle_pb.WithdrawServiceRequest, context: Context
    ) -> pb.Service:
        return await self.move(request, "withdraw", lock_own)

    async def SuspendService(
        self, request: lifecycle_pb.SuspendServiceRequest, context: Context
    ) -> pb.Service:
        return await self.move(request, "suspend", lock_any, reason=request.reason)

    async def ReinstateService(
        self, request: lifecycle_pb.ReinstateServiceRequest, context: Context
    ) -> pb.Service:
        return await self.move(request, "reinstate", lock_any, reason=request.reason)

    async def RetireService(self, request: lifecycle_pb.RetireServiceRequest, context: Context) -> pb.Service:
        return await self.move(request, "retire", lock_own)
