"""Which state identity-svc's lists are in: one question each second for all that a process follows.

Who follows a list (ams_common.following, token_ends, platform_settings) asks for it only when its revision is
another than at the last time. While nobody answers that question, each asks for its own list every second
instead: so an identity-svc of a release before is followed too.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import grpc
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import identity_service_pb2_grpc as rpc

from ams_common.client import ServiceToken, invoke
from ams_common.loops import run_forever

_EVERY_S = 1.0

# Raises AppError.
Ask: TypeAlias = Callable[[], Awaitable[pb.Revisions]]


def asking(channel: grpc.aio.Channel, service: str, secret: str) -> Ask:
    """Asks identity-svc; `service` and `secret` prove who does."""
    stub, token = rpc.IdentityServiceStub(channel), ServiceToken(channel, service, secret)

    async def ask() -> pb.Revisions:
        return await invoke(stub.GetRevisions, pb.GetRevisionsRequest(), token=await token.get())

    return ask


class Revisions:
    """What was said last, for all of a process that follow a list."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._said: pb.Revisions | None = None  # None: whoever was asked last hasn't answered
        self._asked = asyncio.Condition()

    async def run(self) -> None:
        """For ever."""
        await run_forever("asking for revisions", self.ask, _EVERY_S)

    async def ask(self) -> None:
        """Raises AppError when it isn't answered."""
        said = None
        try:
            said = await self._ask()
        finally:
            async with self._asked:
                self._said = said
                self._asked.notify_all()

    async def follow(self, name: str, work: str, catch_up: Callable[[], Awaitable[object]]) -> None:
        """For ever: does `catch_up` now and whenever the list, a field of pb.Revisions, has another revision.
        `work` is what the logs call it."""
        seen: int | None = None

        async def follow_once() -> None:
            nonlocal seen
            # Before the list is asked for: what changes meanwhile has another.
            revision = await self._next(name, seen)
            await catch_up()
            seen = revision

        await run_forever(work, follow_once, 0.0, retry_s=_EVERY_S)

    async def _next(self, name: str, seen: int | None) -> int | None:
        """The list's revision once it isn't `seen`; None as soon as nobody has answered for a second."""
        async with self._asked:
            while self._said is None or getattr(self._said, name) == seen:
                await self._asked.wait()
                if self._said is None:
                    return None
            revision: int = getattr(self._said, name)
            return revision
