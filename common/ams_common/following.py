"""Following what identity-svc lists by version, beside what Kafka tells of it.

What must not wait while Kafka is away (a block, a member who was removed) is asked for within a second.
Both ways end in one function of the service, and the version that each state carries says which of two is in
force, whichever came first.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, Generic

import grpc
from typing_extensions import TypeVar

from ams_common.client import ServiceToken
from ams_common.database import Change, Database
from ams_common.outbox import is_delivered
from ams_common.revisions import Revisions

# A bare follower is one of whatever store.
S = TypeVar("S", default=Any)
C = TypeVar("C", default=Any)  # a listed change, as its message
T = TypeVar("T", default=Any)  # the state that a change tells of

_DELIVERED_WITHIN_S = 0.5

# Applies states in the transaction that also moves the position.
Apply = Callable[[Change[S], Sequence[T]], Awaitable[None]]


class Follower(ABC, Generic[S, C, T]):
    """Asks for the changes after the last one applied, and applies them with `apply`.

    `channel` is this follower's alone (see open_channel); `service` and `secret` prove who asks.
    """

    source: ClassVar[str]  # of followed_versions
    subject: ClassVar[str]  # what the logs call it, and the list's field in Revisions

    def __init__(
        self, database: Database[S], channel: grpc.aio.Channel, service: str, secret: str, apply: Apply[S, T]
    ) -> None:
        self._database = database
        self._token = ServiceToken(channel, service, secret)
        self._apply = apply

    async def run(self, revisions: Revisions) -> None:
        """For ever; while identity-svc is away, what Kafka tells is all there is."""
        await revisions.follow(self.subject, f"following of {self.subject}", self.catch_up)

    async def catch_up(self) -> None:
        """Applies all changes that there are now. Raises AppError when identity-svc doesn't answer."""
        while changes := await self.ask(await self._position(), await self._token.get()):
            states = [state for change in changes if (state := self.state_of(change)) is not None]
            # The causes are in identity-svc's audit log.
            async with self._database.change_by_system(f"follow {self.subject}", audited=False) as change:
                await self._apply(change, states)
                # Last, so that who applies the same changes from Kafka waits for this row no longer than it
                # must. Another process of ours may be further already.
                await change.connection.execute(
                    "INSERT INTO followed_versions AS held (source, version) VALUES ($1, $2)"
                    " ON CONFLICT (source) DO UPDATE SET version = greatest(held.version, excluded.version)",
                    self.source,
                    self.version_of(changes[-1]),
                )
            # Whoever has made the changes waits to hear, by the next question, that the gateways know.
            await is_delivered(self._database, change.snapshot_keys, _DELIVERED_WITHIN_S)

    async def _position(self) -> int:
        async with self._database.connection() as connection:
            version: int | None = await connection.fetchval(
                "SELECT version FROM followed_versions WHERE source = $1", self.source
            )
        return version or 0

    @abstractmethod
    async def ask(self, after_version: int, token: str) -> Sequence[C]:
        """The changes that follow, by version; a page of them. None: there are no more."""

    @abstractmethod
    def state_of(self, change: C) -> T | None:
        """What is to be applied; None for what isn't this service's."""

    @abstractmethod
    def version_of(self, change: C) -> int:
        """Where to go on after it."""
