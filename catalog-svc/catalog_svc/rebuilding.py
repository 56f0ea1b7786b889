"""Writes the snapshots of all services to Redis again, after it lost them or was restored."""

from uuid import UUID

from ams_common.clock import Clock
from ams_common.database import Database
from ams_common.outbox import write_now
from ams_common.redis_client import RedisClient

from catalog_svc.publishing import redis_keys
from catalog_svc.store import Store

_CHUNK = 500
_FIRST = UUID(int=0)


async def rebuild_snapshots(database: Database[Store], redis: RedisClient, clock: Clock) -> int:
    """How many services were written, each under its two names.

    May run beside the service: what that writes meanwhile is newer, and stays. Raises RedisError.
    """
    after_id, count = _FIRST, 0
    while True:
        async with database.read() as store:
            found = await store.list_snapshots_to_write(after_id=after_id, limit=_CHUNK, now=clock())
        if not found:
            return count
        await write_now(redis, {key: snapshot for snapshot in found for key in redis_keys(snapshot)})
        after_id, count = UUID(found[-1].service_id), count + len(found)
