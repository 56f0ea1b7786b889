"""What keys-svc does with identity.events: a consumer's standing reaches the snapshots of all its keys."""

from collections.abc import Sequence
from uuid import UUID

from ams.identity.v1.events_pb2 import IdentityEvent
from ams_common.clock import utc_now
from ams_common.database import Change
from ams_common.snapshots import key_snapshot_key

from keys_svc import standing
from keys_svc.messages import key_snapshot
from keys_svc.store import Store


async def apply_identity_events(change: Change[Store], events: Sequence[IdentityEvent]) -> None:
    """Applies each consumer's new standing. Raises ValueError for an event that holds no standing or id.

    The order of the topic counts, not the event's clock: a consumer's events lie in one partition, and a
    relay that sends some again sends all that follow them again, up to the newest.
    """
    for event in events:
        if not event.HasField("consumer_changed"):
            continue  # a merchant's standing reaches the services' snapshots, which are the catalog's
        consumer_id, new = UUID(event.consumer_changed.consumer_id), event.consumer_changed.standing
        text = standing.to_table(new)
        if new == await change.store.lock_consumer(consumer_id):
            continue  # repeated: the snapshots say so already
        await change.store.set_standing(consumer_id=consumer_id, standing=text)
        now = utc_now()
        for key in await change.store.live_keys(consumer_id=consumer_id, now=now):
            change.snapshot(key_snapshot_key(key.key_hash), key_snapshot(key, new, now))
