"""Tells people of keys that expire soon, in the background: so many days ahead, each once."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID, uuid5

from ams.identity.v1.notifications_pb2 import KeyExpiring, Notification
from ams_common import topics
from ams_common.clock import Clock, to_timestamp
from ams_common.database import Database
from ams_common.loops import run_forever

from keys_svc.keys import Key
from keys_svc.store import Store

DAYS_AHEAD = (1, 3, 14)
# For ever the same: a notification is told once for its id.
_NOTIFICATIONS = UUID("0d1f7a52-5c0e-5f0b-9a1d-6f0f0a7c2b44")
_EVERY_S = 60.0
_BATCH = 500


async def tell_of_expiries(database: Database[Store], clock: Clock) -> None:
    """For ever."""
    await run_forever("notices of expiring keys", partial(tell_all, database, clock), _EVERY_S)


async def tell_all(database: Database[Store], clock: Clock) -> None:
    """Tells of all that are due. After a time away only the latest notice of a key is told."""
    while await _tell_batch(database, clock) == _BATCH:
        pass


async def _tell_batch(database: Database[Store], clock: Clock) -> int:
    now = clock()
    async with database.change_by_system("tell of expiring keys", audited=False) as change:
        keys = await change.store.take_keys_with_notice_due(now=now, days_ahead=DAYS_AHEAD, limit=_BATCH)
        for key in keys:
            if (days_ahead := days_ahead_due(key, now)) is None:
                continue
            for each in notifications(key, days_ahead):
                each.occurred_at.FromDatetime(now)
                change.publish(topics.NOTIFICATIONS, each.user_id, each)
    return len(keys)


def days_ahead_due(key: Key, now: datetime) -> int | None:
    """Which notice of the key is due. None: it ends later, has ended, or hasn't lived longer than that."""
    ahead = [days for days in DAYS_AHEAD if key.expires_at <= now + timedelta(days=days)]
    if not ahead or key.expires_at <= now:
        return None
    return min(ahead) if key.created_at < key.expires_at - timedelta(days=min(ahead)) else None


def notifications(key: Key, days_ahead: int) -> Sequence[Notification]:
    """For whoever pays for the key, and whoever made it."""
    return [
        Notification(
            notification_id=str(
                uuid5(_NOTIFICATIONS, f"{key.key_id}|{key.expires_at.isoformat()}|{days_ahead}|{user_id}")
            ),
            user_id=str(user_id),
            key_expiring=KeyExpiring(
                key_id=str(key.key_id),
                key_name=key.name,
                key_prefix=key.key_prefix,
                expires_at=to_timestamp(key.expires_at),
            ),
        )
        for user_id in sorted({key.consumer_id, key.created_by})
    ]
