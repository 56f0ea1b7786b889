"""identity.events → the merchants projection, and the snapshots that depend on it.

An event carries its subject's whole state and the events of one merchant come in order, so the last
one wins; the same one again changes nothing. Not ordered by time: a clock that was set back must not
keep a suspension from taking effect.
"""

import logging
from collections.abc import Sequence
from uuid import UUID

from ams.identity.v1.events_pb2 import IdentityEvent, MerchantChanged
from ams_common import topics
from ams_common.consumer import Subscription
from ams_common.database import Change
from ams_common.snapshots import service_snapshot_key

from catalog_svc.messages import snapshot_message, standing_word
from catalog_svc.records import ServiceRecord
from catalog_svc.store import Store

log = logging.getLogger(__name__)

SNAPSHOT_BATCH = 500
_FIRST_ID = UUID(int=0)


class MerchantProjection:
    """Keeps what catalog-svc knows of merchants as identity-svc tells it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def subscription(self) -> Subscription[IdentityEvent]:
        """For the EventConsumer."""
        return Subscription(topics.IDENTITY_EVENTS, IdentityEvent, self.apply)

    async def apply(self, change: Change, events: Sequence[IdentityEvent]) -> None:
        """Raises ValueError for a merchant that can't be read, which dead-letters its event."""
        newest = {
            event.merchant_changed.merchant_id: event.merchant_changed
            for event in events
            if event.WhichOneof("event") == "merchant_changed"
        }
        for merchant in sorted(newest.values(), key=lambda merchant: merchant.merchant_id):
            await self._apply_merchant(change, merchant)

    async def _apply_merchant(self, change: Change, merchant: MerchantChanged) -> None:
        merchant_id = UUID(merchant.merchant_id)
        standing = standing_word(merchant.standing)
        if await self._store.save_merchant(
            change.connection, merchant_id, merchant.display_name, merchant.slug, standing
        ):
            count = await self._rewrite_snapshots(change, merchant_id)
            log.info(
                "merchant changed",
                extra={"merchant_id": str(merchant_id), "standing": standing, "services": count},
            )

    async def _rewrite_snapshots(self, change: Change, merchant_id: UUID) -> int:
        after_id, count = _FIRST_ID, 0
        while True:
            records = await self._store.list_active_services(
                change.connection, merchant_id, after_id, SNAPSHOT_BATCH
            )
            for record in records:
                write_snapshot(change, record)
            await change.flush()
            count += len(records)
            if len(records) < SNAPSHOT_BATCH:
                return count
            after_id = records[-1].service_id


def write_snapshot(change: Change, record: ServiceRecord) -> None:
    """Under both names that a caller may know the service by."""
    snapshot = snapshot_message(record)
    change.snapshot(service_snapshot_key(record.service_id), snapshot)
    change.snapshot(service_snapshot_key(record.slug), snapshot)
