"""Following the standing of merchants and consumers, which identity-svc owns.

Services that keep it hear of changes in two ways: by Kafka, and by asking identity-svc every second or so,
for a block must not wait while Kafka is away. Both ways end in one function of the service, and the version
that each state carries says which of two is in force, whichever came first.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import grpc
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import identity_service_pb2_grpc as rpc
from ams.identity.v1.events_pb2 import ConsumerChanged, MerchantChanged, Standing
from ams.policy.v1.policy_pb2 import Role

from ams_common.client import ServiceToken, invoke
from ams_common.database import Change, Database
from ams_common.loops import run_forever

S = TypeVar("S")

_SOURCE = "identity-svc/ListStandingChanges"
_EVERY_S = 1.0
_PAGE_SIZE = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StandingState:
    """What somebody's standing is since the change with this version. 0: of before there were versions."""

    user_id: UUID
    standing: Standing.ValueType
    version: int

    @classmethod
    def of_merchant(cls, changed: MerchantChanged) -> "StandingState":
        """Raises ValueError for an id that is none."""
        return cls(UUID(changed.merchant_id), changed.standing, changed.standing_version)

    @classmethod
    def of_consumer(cls, changed: ConsumerChanged) -> "StandingState":
        """Raises ValueError for an id that is none."""
        return cls(UUID(changed.consumer_id), changed.standing, changed.standing_version)


def is_newer(version: int, held: int) -> bool:
    """Whether a state that comes with `version` replaces the one that is held.

    Among states without versions the one that comes later does, as they come in their topic's order.
    """
    return version > held or version == held == 0


def newest(states: Iterable[StandingState]) -> Sequence[StandingState]:
    """Of each user the state that would be in force after all of them, in their order.

    Sorted by user, so that two transactions never wait for each other's rows.
    """
    held: dict[UUID, StandingState] = {}
    for state in states:
        if state.user_id not in held or is_newer(state.version, held[state.user_id].version):
            held[state.user_id] = state
    return [held[user_id] for user_id in sorted(held)]


# Applies states in the transaction that also moves the position.
Apply = Callable[[Change[S], Sequence[StandingState]], Awaitable[None]]


class StandingFollower:
    """Asks identity-svc for the changes of one role's standing, and applies them with `apply`.

    `channel` is this follower's alone (see open_channel); `service` and `secret` prove who asks.
    """

    def __init__(
        self,
        database: Database[S],
        channel: grpc.aio.Channel,
        service: str,
        secret: str,
        role: Role.ValueType,
        apply: Apply[S],
    ) -> None:
        self._database = database
        self._stub = rpc.IdentityServiceStub(channel)
        self._token = ServiceToken(channel, service, secret)
        self._role = role
        self._apply = apply

    async def run(self) -> None:
        """For ever; while identity-svc is away, what Kafka tells is all there is."""
        await run_forever("following of standing", self.catch_up, _EVERY_S)

    async def catch_up(self) -> None:
        """Applies all changes that there are now. Raises AppError when identity-svc doesn't answer."""
        while len(changes := await self._ask()) > 0:
            states = [state for change in changes if (state := self._state(change)) is not None]
            # The causes are in identity-svc's audit log.
            async with self._database.change_by_system("follow standing", audited=False) as change:
                await self._apply(change, states)
                # Last, so that who applies the same changes from Kafka waits for this row no longer than it
                # must. Another process of ours may be further already.
                await change.connection.execute(
                    "INSERT INTO followed_versions AS held (source, version) VALUES ($1, $2)"
                    " ON CONFLICT (source) DO UPDATE SET version = greatest(held.version, excluded.version)",
                    _SOURCE,
                    changes[-1].version,
                )
            if len(changes) < _PAGE_SIZE:
                return

    async def _ask(self) -> Sequence[pb.StandingChange]:
        async with self._database.connection() as connection:
            version = await connection.fetchval(
                "SELECT version FROM followed_versions WHERE source = $1", _SOURCE
            )
        request = pb.ListStandingChangesRequest(after_version=version or 0, page_size=_PAGE_SIZE)
        answer = await invoke(self._stub.ListStandingChanges, request, token=await self._token.get())
        return answer.changes

    def _state(self, change: pb.StandingChange) -> StandingState | None:
        if change.role != self._role:
            return None
        if change.standing not in Standing.values():
            # A newer identity-svc: Kafka's message of it is kept among the dead letters, to be replayed.
            log.error("unknown standing", extra={"user_id": change.user_id, "standing": change.standing})
            return None
        return StandingState(UUID(change.user_id), change.standing, change.version)
