"""What registry-svc does with identity.events: it learns the merchants' slugs."""

from collections.abc import Sequence
from uuid import UUID

from ams.identity.v1.events_pb2 import IdentityEvent
from ams_common.database import Change

from registry_svc.storage.store import Store


class IdentityEvents:
    """A repeated event has no effect."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def apply(self, change: Change, events: Sequence[IdentityEvent]) -> None:
        for event in events:
            if event.HasField("merchant_changed"):
                merchant = event.merchant_changed
                await self._store.save_merchant(change.connection, UUID(merchant.merchant_id), merchant.slug)
