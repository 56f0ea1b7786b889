"""What keys-svc does with identity.events: a consumer's standing reaches all of its keys' snapshots."""

from collections.abc import Sequence
from uuid import UUID

from ams.identity.v1.events_pb2 import ConsumerChanged, IdentityEvent
from ams_common.clock import utc_now
from ams_common.database import Change
from ams_common.snapshots import key_snapshot_key

from keys_svc import standing
from keys_svc.keys import key_snapshot
from keys_svc.store import Store


class IdentityEvents:
    """Applied in the order of the topic, not by the event's clock: a consumer's events lie in one
    partition, and what a relay sends again it sends again up to the newest."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def apply(self, change: Change, events: Sequence[IdentityEvent]) -> None:
        for event in events:
            if event.HasField("consumer_changed"):
                await self._apply_consumer(change, event.consumer_changed)

    async def _apply_consumer(self, change: Change, event: ConsumerChanged) -> None:
        """An event that tells nothing new changes nothing, so a repeated one has no effect."""
        consumer_id, new = UUID(event.consumer_id), event.standing
        standing.to_table(new)
        if new == await self._store.lock_consumer(change.connection, consumer_id):
            return
        await self._store.set_standing(change.connection, consumer_id, new)
        now = utc_now()
        for key in await self._store.live_keys(change.connection, consumer_id, now):
            change.snapshot(key_snapshot_key(key.key_hash), key_snapshot(key, new, now))
