"""Tells owners of keys that were found in public, in the background: what they have cost is asked first."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from uuid import UUID

from ams_common import topics
from ams_common.clock import Clock
from ams_common.database import Database
from ams_common.errors import AppError
from ams_common.loops import run_forever
from google.type.money_pb2 import Money

from keys_svc.exposures import Exposure, notifications
from keys_svc.key_activity import KeyCosts
from keys_svc.keys import Key
from keys_svc.store import Store

_EVERY_S = 1.0
# Without billing-svc for so long the owner is told without the cost.
_COST_WAIT = timedelta(seconds=30)


async def tell_of_exposures(database: Database[Store], costs: KeyCosts, clock: Clock) -> None:
    """For ever."""
    await run_forever("notices of found keys", partial(tell_all, database, costs, clock), _EVERY_S)


async def tell_all(database: Database[Store], costs: KeyCosts, clock: Clock) -> None:
    """Tells of all that were reported so far, but for those whose cost is still waited for."""
    async with database.read() as store:
        untold = await store.exposures.list_untold_exposures()
        keys = {key.key_id: key for key in await store.find_keys(key_ids=[each.key_id for each in untold])}
    for exposure in untold:
        key = keys[exposure.key_id]
        try:
            cost = await costs.since(key.consumer_id, key.key_id, exposure.exposed_since)
        except AppError:
            if clock() - exposure.reported_at < _COST_WAIT:
                continue
            cost = ()
        await _tell(database, exposure, key, cost, clock)


async def _tell(
    database: Database[Store], exposure: Exposure, key: Key, cost: Sequence[Money], clock: Clock
) -> None:
    # The report was audited.
    async with database.change_by_system("tell of found key", audited=False) as change:
        exposure_id: UUID = exposure.exposure_id
        if await change.store.exposures.mark_told(exposure_id=exposure_id, told_at=clock()):
            for notification in notifications(exposure, key, cost):
                change.publish(topics.NOTIFICATIONS, notification.user_id, notification)
