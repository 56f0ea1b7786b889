"""The RPCs of UsageService about single calls."""

from dataclasses import dataclass

from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams_common.context import current_user_id
from ams_common.interceptors import Context

from usage_svc.questions.answers import Questions
from usage_svc.questions.calls import call_question_of
from usage_svc.questions.scopes import Asker


@dataclass(kw_only=True, eq=False)
class CallRpcs(rpc.UsageServiceServicer):
    """A filter for what is somebody else's finds nothing: whose calls they are comes from the token."""

    questions: Questions

    async def ListConsumerCalls(self, request: pb.ListCallsRequest, context: Context) -> pb.ListCallsResponse:
        return await self._calls(CONSUMER, request)

    async def ListMerchantCalls(self, request: pb.ListCallsRequest, context: Context) -> pb.ListCallsResponse:
        return await self._calls(MERCHANT, request)

    async def ListPlatformCalls(self, request: pb.ListCallsRequest, context: Context) -> pb.ListCallsResponse:
        return await self._calls(ADMIN, request)

    async def _calls(self, role: Role.ValueType, request: pb.ListCallsRequest) -> pb.ListCallsResponse:
        return await self.questions.calls(call_question_of(Asker(role, current_user_id()), request))
