"""What is missing of gateways' journals: numbers that were given to events and never counted here. Pure."""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

# What has been quiet for so long is complete, or an event of it is lost or among the dead letters.
SETTLED_AFTER = timedelta(minutes=5)
# A gap that nothing fills is told of this long; the view `journals` shows it for good.
TOLD_FOR = timedelta(days=7)


class JournalGap(NamedTuple):
    """How many events are missing of a journal up to its number `highest_sequence`."""

    journal_id: UUID
    highest_sequence: int
    missing: int


def settled_range(now: datetime) -> dict[str, datetime]:
    """When a block of a journal must have been added to last, to be looked at for gaps `now`."""
    return {"counted_after": now - TOLD_FOR, "counted_before": now - SETTLED_AFTER}
