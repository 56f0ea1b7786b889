"""Deletes what nobody needs any more, a little at a time."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from ams_common.clock import Clock
from ams_common.database import Database
from ams_common.loops import run_forever

from identity_svc import challenges
from identity_svc.store import Store

_BATCH = 500
_EVERY_S = 60.0

# Query → how long what it deletes is kept: challenges as long as they count against a limit. With a session
# go its refresh tokens, all of which are needed until then: one that is used twice ends it.
_KEPT: Mapping[str, timedelta] = {
    "purge_challenges": challenges.LONGEST_WINDOW,
    "purge_sessions": timedelta(days=1),
    "purge_mails": timedelta(days=7),
    # A month longer than Kafka keeps what could be read again (ams_common.topics).
    "purge_notifications": timedelta(days=90),
    "purge_project_invitations": timedelta(days=90),
}


async def purge_old_rows(database: Database[Store], clock: Clock) -> None:
    """For ever, each minute. Every process may do it: rows that another one deletes are passed over."""
    await run_forever("retention", partial(purge, database, clock), _EVERY_S)


async def purge(database: Database[Store], clock: Clock) -> None:
    """Deletes all that is old, each batch in a transaction of its own."""
    for query, kept in _KEPT.items():
        purged = _BATCH
        while purged == _BATCH:
            async with database.change_by_system(f"retention.{query}", audited=False) as change:
                purged = await getattr(change.store, query)(before=clock() - kept, limit=_BATCH)
