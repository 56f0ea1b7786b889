"""Deletes what nobody needs any more, a little at a time."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from ams_common.clock import Clock
from ams_common.database import Database
from ams_common.ended_tokens import REMEMBERED_S
from ams_common.loops import run_forever

from identity_svc import audit_log, challenges
from identity_svc.platform_settings import SettingsStore
from identity_svc.store import Store

_BATCH = 500
_EVERY_S = 60.0

# Query → how long what it deletes is kept. With a session
# go its refresh tokens, all of which are needed until then: one that is used twice ends it.
_KEPT: Mapping[str, timedelta] = {
    "purge_challenges": challenges.KEPT,
    "purge_codes": challenges.KEPT,
    "purge_factor_challenges": challenges.KEPT,
    "purge_allowances": timedelta(),
    "purge_tries": timedelta(days=400),
    "purge_sessions": timedelta(days=1),
    # As long as somebody could show a token that has ended.
    "purge_token_ends": timedelta(seconds=REMEMBERED_S),
    "purge_tokens": timedelta(days=30),
    "purge_mails": timedelta(days=7),
    # A month longer than Kafka keeps what could be read again (ams_common.topics).
    "purge_notifications": timedelta(days=90),
    "purge_project_invitations": timedelta(days=90),
}


async def purge_old_rows(database: Database[Store], clock: Clock) -> None:
    """For ever, each minute. Every process may do it: rows that another one deletes are passed over."""
    await run_forever("retention", partial(purge, database, clock), _EVERY_S)


async def keep_audit_log_purged(database: Database[Store], clock: Clock) -> None:
    """For ever, each minute."""
    await run_forever("retention of audit records", partial(purge_audit_log, database, clock), _EVERY_S)


async def purge_audit_log(database: Database[Store], clock: Clock) -> None:
    """Deletes the audit records that are older than the platform's settings say."""
    async with database.read() as opened:
        settings = await SettingsStore(opened.connection).find_settings()
    await audit_log.purge(database, clock(), timedelta(days=settings.audit_retention_days))


async def purge(database: Database[Store], clock: Clock) -> None:
    """Deletes all that is old, each batch in a transaction of its own."""
    for query, kept in _KEPT.items():
        purged = _BATCH
        while purged == _BATCH:
            async with database.change_by_system(f"retention.{query}", audited=False) as change:
                purged = await getattr(change.store, query)(before=clock() - kept, limit=_BATCH)
