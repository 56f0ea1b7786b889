"""Upkeep of the tables that every service has."""

import asyncio
import logging
from datetime import timedelta

from ams_common.database import PASSING_FAULTS, Database

log = logging.getLogger(__name__)

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


async def forget_old_answers(database: Database) -> None:
    """For ever, hourly; faults are logged and tried again."""
    while True:
        try:
            while await forget_batch(database) == _BATCH:
                pass
        except PASSING_FAULTS as error:
            log.warning("upkeep waits", extra={"error": repr(error)})
        await asyncio.sleep(_EVERY_S)


async def forget_batch(database: Database) -> int:
    """Deletes a batch of answers that are too old to be asked for again; returns how many."""
    async with database.change_by_system("upkeep.forget_answers", audited=False) as change:
        status: str = await change.connection.execute(_DELETE, ANSWERS_KEPT, _BATCH)
    return int(status.rsplit(" ", 1)[-1])
