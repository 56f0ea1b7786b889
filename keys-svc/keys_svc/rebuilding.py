"""Writes the snapshots of all keys to Redis again, after it lost them or was restored from an old copy."""

from uuid import UUID

from ams_common.clock import Clock
from ams_common.database import Database
from ams_common.outbox import write_now
from ams_common.redis_client import RedisClient

from keys_svc.publishing import snapshots_of
from keys_svc.store import Store

_CHUNK = 500
_FIRST = UUID(int=0)


async def rebuild_snapshots(database: Database[Store], redis: RedisClient, clock: Clock) -> int:
    """How many were written. Those of revoked keys too: an old copy may say that they are active.

    May run beside the service: what that writes meanwhile is newer, and stays. Raises RedisError.
    """
    after_id, count = _FIRST, 0
    while True:
        async with database.read() as store:
            keys = await store.list_keys_to_write(after_id=after_id, limit=_CHUNK)
            if not keys:
                return count
            found = await store.find_consumers(consumer_ids=list({key.consumer_id for key in keys}))
        consumers = {consumer.consumer_id: consumer for consumer in found}
        now = clock()
        snapshots = {
            redis_key: snapshot
            for key in keys
            for redis_key, snapshot in snapshots_of(key, consumers[key.consumer_id], now).items()
        }
        await write_now(redis, snapshots)
        after_id, count = keys[-1].key_id, count + len(snapshots)
