"""What a change tells the gateways, with its commit.

Whoever changes anything that a snapshot says calls one of these, with the consumer locked: so the versions
of a key's snapshots are in the order of the changes.
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from ams.keys.v1.events_pb2 import KeySnapshot
from ams_common.database import Change
from ams_common.snapshots import key_snapshot_key

from keys_svc.consumers import Consumer
from keys_svc.keys import Key
from keys_svc.messages import key_snapshot
from keys_svc.store import Store


async def write_key(change: Change[Store], consumer: Consumer, key_id: UUID, now: datetime) -> Key:
    """The key as it is now, with the version under which the gateways will have it.

    Also of a revoked key: its snapshot is overwritten and never deleted, for a gateway that found none would
    have to ask for one. `now` is the moment of the change: a secret that it ends is written once more.
    """
    key = await change.store.renew_key(key_id=key_id)
    assert key is not None, "keys are never deleted"
    _write(change, consumer, key, now)
    return key


async def write_keys_of(change: Change[Store], consumer: Consumer, now: datetime) -> None:
    """After a change that all of the consumer's keys share. Those that open nothing any more get their
    versions too, and no gateway needs to be told of them."""
    await change.store.renew_keys(consumer_id=consumer.consumer_id)
    for key in await change.store.live_keys(consumer_id=consumer.consumer_id, now=now):
        _write(change, consumer, key, now)


async def write_keys_of_project(
    change: Change[Store], consumer: Consumer, project_id: UUID, now: datetime
) -> None:
    """After a change that all keys of a project share, for which `consumer` pays."""
    await change.store.renew_project_keys(project_id=project_id)
    for key in await change.store.live_project_keys(project_id=project_id, now=now):
        _write(change, consumer, key, now)


def snapshots_of(key: Key, consumer: Consumer, now: datetime) -> Mapping[str, KeySnapshot]:
    """Of each secret that works, by its Redis key."""
    return {
        key_snapshot_key(secret.key_hash): key_snapshot(key, secret, consumer, now)
        for secret in key.secrets(now)
    }


def _write(change: Change[Store], consumer: Consumer, key: Key, now: datetime) -> None:
    for redis_key, snapshot in snapshots_of(key, consumer, now).items():
        change.snapshot(redis_key, snapshot)
