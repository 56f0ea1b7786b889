"""Whether those who keep standings for the gateways have heard of a change: an admin who stops somebody is
told with the answer."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeVar
from uuid import UUID

from ams.identity.v1 import identity_service_pb2 as pb
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.snapshots import CONFIRMED_WITHIN

from identity_svc.store import Store

T = TypeVar("T", pb.Merchant, pb.Consumer)

# Who writes the snapshots that a role's standing is in.
READERS: Mapping[str, str] = {"merchant": "catalog-svc", "consumer": "keys-svc"}
_ASK_EVERY_S = 0.05


class Reading(Enum):
    """How far a reader has come with a change."""

    DELIVERED = auto()
    # It has applied the change, and can't tell the gateways, who will ask it.
    UNDELIVERED = auto()
    # It asks every second, and will soon.
    EXPECTED = auto()
    # It hasn't asked for a while: it is down, or can't reach us.
    AWAY = auto()


@dataclass
class StandingReaders:
    """`wait_s`: how long an answer waits for the reader, which asks every second."""

    database: Database[Store]
    wait_s: float = 3.0

    async def tell(self, answer: T, role: str, user_id: UUID) -> T:
        """The answer, with by when the present standing of somebody in a role holds, or that nobody knows,
        unless it holds already. To be called after the commit: no lock is held meanwhile."""
        reading = await self._wait(role, user_id)
        answer.is_held_up = reading is Reading.AWAY
        if reading in (Reading.UNDELIVERED, Reading.EXPECTED):
            answer.effective_by.FromDatetime(utc_now() + CONFIRMED_WITHIN)
        return answer

    async def _wait(self, role: str, user_id: UUID) -> Reading:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self.wait_s
        while True:
            async with self.database.read() as store:
                found = await store.find_reading(service=READERS[role], role=role, user_id=user_id)
            reading = Reading[found or "AWAY"]
            if reading is not Reading.EXPECTED or loop.time() > until_s:
                return reading
            await asyncio.sleep(_ASK_EVERY_S)
