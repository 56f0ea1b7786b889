"""Following the standing of merchants and consumers, which identity-svc owns.

Services that keep it hear of changes by Kafka and by asking (ams_common.following).
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import grpc
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import identity_service_pb2_grpc as rpc
from ams.identity.v1.events_pb2 import ConsumerChanged, MerchantChanged, Standing
from ams.policy.v1.policy_pb2 import Role
from typing_extensions import TypeVar

from ams_common.client import invoke
from ams_common.database import Database
from ams_common.following import Apply, Follower

# A bare follower is one of whatever store.
S = TypeVar("S", default=Any)

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


class StandingFollower(Follower[S, pb.StandingChange, StandingState]):
    """Follows the standing in one role."""

    source = "identity-svc/ListStandingChanges"
    subject = "standings"

    def __init__(
        self,
        database: Database[S],
        channel: grpc.aio.Channel,
        service: str,
        secret: str,
        role: Role.ValueType,
        apply: Apply[S, StandingState],
    ) -> None:
        super().__init__(database, channel, service, secret, apply)
        self._stub = rpc.IdentityServiceStub(channel)
        self._role = role

    async def ask(self, after_version: int, token: str) -> Sequence[pb.StandingChange]:
        # What has been applied by now has its snapshots in the outbox, or they are gone from there.
        async with self._database.connection() as connection:
            waits = await connection.fetchval(
                "SELECT EXISTS (SELECT FROM outbox WHERE destination = 'redis')"
            )
        request = pb.ListStandingChangesRequest(
            after_version=after_version, page_size=_PAGE_SIZE, is_delivered=not waits
        )
        answer = await invoke(self._stub.ListStandingChanges, request, token=token)
        return answer.changes

    def version_of(self, change: pb.StandingChange) -> int:
        return change.version

    def state_of(self, change: pb.StandingChange) -> StandingState | None:
        if change.role != self._role:
            return None
        if change.standing not in Standing.values():
            # A newer identity-svc: Kafka's message of it is kept among the dead letters, to be replayed.
            log.error("unknown standing", extra={"user_id": change.user_id, "standing": change.standing})
            return None
        return StandingState(UUID(change.user_id), change.standing, change.version)
