"""The RPCs of UsageService about messages that could not be applied."""

from dataclasses import dataclass

from ams.dead_letters.v1 import dead_letters_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams_common.dead_letters import DeadLetters
from ams_common.interceptors import Context


@dataclass(kw_only=True, eq=False)
class DeadLetterRpcs(rpc.UsageServiceServicer):
    """The part of UsageService that is about dead letters."""

    dead_letters: DeadLetters

    async def ListUsageDeadLetters(
        self, request: pb.ListDeadLettersRequest, context: Context
    ) -> pb.ListDeadLettersResponse:
        return await self.dead_letters.list(request)

    async def ReplayUsageDeadLetter(self, request: pb.DeadLetterId, context: Context) -> pb.DeadLetter:
        return await self.dead_letters.replay(request)

    async def DismissUsageDeadLetter(
        self, request: pb.DismissDeadLetterRequest, context: Context
    ) -> pb.DeadLetter:
        return await self.dead_letters.dismiss(request)
