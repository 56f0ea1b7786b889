"""What registry-svc does with identity.events: the merchants' slugs, who is in which project."""

from collections.abc import Sequence
from uuid import UUID

from ams.identity.v1.events_pb2 import IdentityEvent
from ams_common.database import Change
from ams_common.projects import Project, projects_of, save_projects

from registry_svc.storage.store import Store


async def apply_identity_events(change: Change[Store], events: Sequence[IdentityEvent]) -> None:
    """Saves each merchant's slug; a repeated event has no effect. Raises ValueError for a project that can't
    be read."""
    for event in events:
        if event.HasField("merchant_changed"):
            merchant = event.merchant_changed
            await change.store.save_merchant(merchant_id=UUID(merchant.merchant_id), slug=merchant.slug)
    await apply_projects(change, projects_of(events))


async def apply_projects(change: Change[Store], projects: Sequence[Project]) -> None:
    """Keeps what is newer than what is known, whether Kafka or identity-svc told it."""
    await save_projects(change.connection, projects)
