"""What registry-svc does with identity.events: it learns the merchants' slugs."""

from collections.abc import Sequence
from uuid import UUID

from ams.identity.v1.events_pb2 import IdentityEvent
from ams_common.database import Change

from registry_svc.storage.store import Store


async def apply_identity_events(change: Change[Store], events: Sequence[IdentityEvent]) -> None:
    """Saves each merchant's slug; a repeated event has no effect."""
    for event in events:
        if event.HasField("merchant_changed"):
            merchant = event.merchant_changed
            await change.store.save_merchant(merchant_id=UUID(merchant.merchant_id), slug=merchant.slug)
