"""Work in the background that goes on for ever."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import asyncpg

from ams_common import metrics
from ams_common.errors import AppError
from ams_common.faults import PASSING_FAULTS

log = logging.getLogger(__name__)


async def run_forever(
    name: str, work: Callable[[], Awaitable[object]], every_s: float, *, retry_s: float | None = None
) -> None:
    """Does `work` again and again, `every_s` after its end, and `retry_s` (else the same) after a fault.

    Faults that pass are logged and waited out, and so is all that PostgreSQL or another service of ours
    refuses: the migration that a statement needs may still be on its way, and so may the newer peer. Anything
    else is raised, and ends the process (see `serve`).
    """
    while True:
        pause_s = every_s
        try:
            await work()
        except (*PASSING_FAULTS, AppError, asyncpg.PostgresError) as error:
            metrics.counter(
                "ams_background_faults", "Faults that work in the background waited out.", "work"
            ).labels(name).inc()
            log.warning("%s waits", name, extra={"error": repr(error)})
            pause_s = every_s if retry_s is None else retry_s
        await asyncio.sleep(pause_s)
