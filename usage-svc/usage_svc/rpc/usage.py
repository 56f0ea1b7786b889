"""The RPCs of UsageService: usage as consumers, merchants and admins may see it, now and live."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams_common.clock import utc_now
from ams_common.context import current_user_id
from ams_common.interceptors import Context
from ams_common.live_answers import LiveAnswers

from usage_svc.questions.answers import Questions
from usage_svc.questions.scopes import Asker
from usage_svc.questions.usage import question_of


@dataclass(kw_only=True, eq=False)
class UsageRpcs(rpc.UsageServiceServicer):
    """A filter for what is somebody else's finds nothing: whose usage it is comes from the token."""

    questions: Questions
    live: LiveAnswers[pb.UsageReport] = field(default_factory=LiveAnswers)

    async def GetConsumerUsage(self, request: pb.GetUsageRequest, context: Context) -> pb.UsageReport:
        return await self._usage(_asker(CONSUMER), request)

    async def GetMerchantUsage(self, request: pb.GetUsageRequest, context: Context) -> pb.UsageReport:
        return await self._usage(_asker(MERCHANT), request)

    async def GetPlatformUsage(self, request: pb.GetUsageRequest, context: Context) -> pb.UsageReport:
        return await self._usage(_asker(ADMIN), request)

    def WatchConsumerUsage(
        self, request: pb.GetUsageRequest, context: Context
    ) -> AsyncGenerator[pb.UsageReport, None]:
        return self._watch(_asker(CONSUMER), request)

    def WatchMerchantUsage(
        self, request: pb.GetUsageRequest, context: Context
    ) -> AsyncGenerator[pb.UsageReport, None]:
        return self._watch(_asker(MERCHANT), request)

    def WatchPlatformUsage(
        self, request: pb.GetUsageRequest, context: Context
    ) -> AsyncGenerator[pb.UsageReport, None]:
        return self._watch(_asker(ADMIN), request)

    async def _usage(self, asker: Asker, request: pb.GetUsageRequest) -> pb.UsageReport:
        now = utc_now()
        return await self.questions.usage(question_of(asker, request, now), now)

    def _watch(self, asker: Asker, request: pb.GetUsageRequest) -> AsyncGenerator[pb.UsageReport, None]:
        async def ask() -> pb.UsageReport:
            return await self._usage(asker, request)

        # A request without a range is about another one whenever it is asked, so it is read again each time.
        return self.live.watch(asker, request.SerializeToString(deterministic=True), ask)


def _asker(role: Role.ValueType) -> Asker:
    return Asker(role, current_user_id())
