"""The RPCs about messages that could not be applied."""

from dataclasses import dataclass

from ams.dead_letters.v1 import dead_letters_pb2 as pb
from ams_common.dead_letters import DeadLetters
from ams_common.interceptors import Context


@dataclass(kw_only=True, eq=False)
class DeadLetterRpcs:
    dead_letters: DeadLetters

    async def ListBillingDeadLetters(
        self, request: pb.ListDeadLettersRequest, context: Context
    ) -> pb.ListDeadLettersResponse:
        return await self.dead_letters.list(request)

    async def ReplayBillingDeadLetter(self, request: pb.DeadLetterId, context: Context) -> pb.DeadLetter:
        return await self.dead_letters.replay(request)

    async def DismissBillingDeadLetter(
        self, request: pb.DismissDeadLetterRequest, context: Context
    ) -> pb.DeadLetter:
        return await self.dead_letters.dismiss(request)
