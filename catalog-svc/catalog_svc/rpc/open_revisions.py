"""The one revision of a service that may be open, and what is put into it."""

from datetime import datetime

from ams_common.database import Change
from ams_common.ids import uuid7

from catalog_svc import revisions
from catalog_svc.messages import changes_of
from catalog_svc.notices import tell_submitted
from catalog_svc.records import ServiceRecord
from catalog_svc.revisions import Revision, Wanted
from catalog_svc.store import Store


async def revise(
    change: Change[Store], record: ServiceRecord, revision: Revision | None, wanted: Wanted, now: datetime
) -> None:
    """Has the service's open revision, None for none, change just that: it comes to be, or ends when it would
    change nothing."""
    if revision is None:
        if not wanted.is_nothing:
            await change.store.insert_revision(record.service_id, uuid7(), wanted, now)
            tell_submitted(change, record, now, is_revision=True)
    elif not wanted.is_nothing:
        await change.store.save_revision(revisions.amended(revision, wanted, now))
    else:
        differing = changes_of(record, revision)
        await change.store.save_revision(revisions.decided(revision, revisions.WITHDRAWN, differing, now))
