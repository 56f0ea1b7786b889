"""Prices and signing keys start by themselves: which one is in force follows from the time (migrations/0050),
and here the snapshots that the gateways hold follow it."""

import logging
from functools import partial

from ams_common.clock import Clock
from ams_common.database import Database
from ams_common.loops import run_forever

from catalog_svc.publishing import write_snapshot
from catalog_svc.records import found
from catalog_svc.store import Store

log = logging.getLogger(__name__)

_EVERY_S = 1.0
_BATCH = 500


async def follow_price_starts(database: Database[Store], clock: Clock) -> None:
    """For ever. What falls due while no process runs is written when one does."""
    await run_forever("price starts", partial(write_due_snapshots, database, clock), _EVERY_S)


async def write_due_snapshots(database: Database[Store], clock: Clock) -> None:
    """Writes the snapshots whose price or signing key has been followed by another one. Every process may do
    it."""
    while True:
        async with database.read() as store:
            due = await store.list_due_snapshots(now=clock(), limit=_BATCH)
        for service_id in due:
            # What starts was audited when it was announced, or made.
            async with database.change_by_system("start", audited=False) as change:
                now = clock()
                record = found(await change.store.lock_service(service_id, None, now))
                # Another process may have been faster.
                if await change.store.is_snapshot_due(service_id=service_id, now=now):
                    # The record is as of now: of a signing key that was followed only the name is left in it.
                    await change.store.save_service(record)
                    await write_snapshot(change, service_id, now)
                    log.info("price or key started", extra={"service_id": str(service_id)})
        if len(due) < _BATCH:
            return
