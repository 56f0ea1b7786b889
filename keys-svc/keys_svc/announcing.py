"""Tells consumers with access of new prices, in the background: a service may have any number of them."""

from functools import partial

from ams_common import topics
from ams_common.clock import Clock
from ams_common.database import Database
from ams_common.loops import run_forever

from keys_svc.price_changes import notification
from keys_svc.store import Store

_EVERY_S = 1.0
CHUNK = 500


async def announce_prices(database: Database[Store], clock: Clock) -> None:
    """For ever. A process that dies in the middle is followed by another, which goes on where it was."""
    await run_forever("price announcements", partial(tell_all, database, clock), _EVERY_S)


async def tell_all(database: Database[Store], clock: Clock) -> None:
    """Tells all that has been announced so far."""
    while await _tell_chunk(database, clock):
        pass


async def _tell_chunk(database: Database[Store], clock: Clock) -> bool:
    """Tells the next consumers, and remembers that in the same transaction. False: there are none."""
    # The price's change was audited by whoever made it.
    async with database.change_by_system("announce price", audited=False) as change:
        announcement = await change.store.lock_announcement()
        if announcement is None:
            return False
        consumer_ids = await change.store.list_granted_consumers(
            service_id=announcement.service_id, after_id=announcement.told_through, limit=CHUNK
        )
        for consumer_id in consumer_ids:
            change.publish(topics.NOTIFICATIONS, str(consumer_id), notification(announcement, consumer_id))
        await change.store.advance_announcement(
            announcement_id=announcement.announcement_id,
            told_through=consumer_ids[-1] if consumer_ids else announcement.told_through,
            finished_at=clock() if len(consumer_ids) < CHUNK else None,
        )
    return True
