"""Retention of the tables that every service has."""

from datetime import timedelta

from ams_common.database import Database
from ams_common.loops import run_forever

# How long a repeated request with the same idempotency key gets the first answer.
ANSWERS_KEPT = timedelta(days=7)
_BATCH = 1000
_EVERY_S = 3600.0

_DELETE = """
DELETE FROM idempotent_answers WHERE (actor, method, idempotency_key) IN (
    SELECT actor, method, idempotency_key FROM idempotent_answers
    WHERE created_at < now() - $1::interval LIMIT $2
)
"""


async def purge_old_answers(database: Database) -> None:
    """For ever, hourly: delete the answers that are too old to be asked for again."""

    async def purge() -> None:
        while await purge_batch(database) == _BATCH:
            pass

    await run_forever("retention of answers", purge, _EVERY_S)


async def purge_batch(database: Database) -> int:
    """Deletes a batch of those answers; returns how many."""
    async with database.change_by_system("retention.purge_answers", audited=False) as change:
        status: str = await change.connection.execute(_DELETE, ANSWERS_KEPT, _BATCH)
    return int(status.rsplit(" ", 1)[-1])
