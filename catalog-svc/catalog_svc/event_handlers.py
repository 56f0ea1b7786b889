"""What catalog-svc does with identity.events: it keeps what it knows of merchants, and rewrites the
snapshots that depend on it."""

import logging
from collections.abc import Sequence
from uuid import UUID

from ams.identity.v1.events_pb2 import IdentityEvent
from ams_common.database import Change

from catalog_svc.messages import standing_word
from catalog_svc.publishing import write_snapshot
from catalog_svc.store import Store

log = logging.getLogger(__name__)

SNAPSHOT_BATCH = 500


async def apply_identity_events(change: Change[Store], events: Sequence[IdentityEvent]) -> None:
    """Saves the merchants that `events` tell of; each event carries its merchant's whole state.

    Raises ValueError for a merchant that can't be read, which dead-letters its event.
    """
    # The events of one merchant come in order, so the last one wins. Not the one with the latest time: a
    # clock that was set back must not keep a suspension from taking effect.
    newest = {
        event.merchant_changed.merchant_id: event.merchant_changed
        for event in events
        if event.WhichOneof("event") == "merchant_changed"
    }
    # Sorted, so that two processes never wait for each other's rows.
    for _, merchant in sorted(newest.items()):
        merchant_id, standing = UUID(merchant.merchant_id), standing_word(merchant.standing)
        if await change.store.save_merchant(merchant_id, merchant.display_name, merchant.slug, standing):
            count = await _rewrite_snapshots(change, merchant_id)
            log.info(
                "merchant changed",
                extra={"merchant_id": str(merchant_id), "standing": standing, "services": count},
            )


async def _rewrite_snapshots(change: Change[Store], merchant_id: UUID) -> int:
    after_id, count = UUID(int=0), 0
    while True:
        records = await change.store.list_active_services(
            merchant_id=merchant_id, after_id=after_id, limit=SNAPSHOT_BATCH
        )
        for record in records:
            write_snapshot(change, record)
        # Batch by batch: a merchant may have more services than fit into memory.
        await change.flush()
        count += len(records)
        if len(records) < SNAPSHOT_BATCH:
            return count
        after_id = records[-1].service_id
