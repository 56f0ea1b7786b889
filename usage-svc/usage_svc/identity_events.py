"""What usage-svc keeps of identity.events: the merchants' names, and who is in which project."""

from collections.abc import Sequence
from uuid import UUID

from ams.identity.v1.events_pb2 import IdentityEvent
from ams_common import topics
from ams_common.database import Change
from ams_common.projects import projects_of
from ams_common.subscriptions import Subscription

from usage_svc.projects import apply_projects
from usage_svc.reporting.store import ReportStore
from usage_svc.store import Store


async def apply_identity_events(change: Change[Store], messages: Sequence[IdentityEvent]) -> None:
    """Keeps the newest. Raises ValueError for a project that can't be read."""
    store = ReportStore(change.connection)
    for message in messages:
        if message.WhichOneof("event") == "merchant_changed":
            merchant = message.merchant_changed
            await store.upsert_merchant(
                merchant_id=UUID(merchant.merchant_id),
                display_name=merchant.display_name,
                standing_version=merchant.standing_version,
            )
    await apply_projects(change, projects_of(messages))


IDENTITY = Subscription(topics.IDENTITY_EVENTS, IdentityEvent, apply_identity_events)
