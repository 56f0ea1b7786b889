"""What usage-svc does with the gateways' usage events."""

from collections.abc import Sequence

from ams.usage.v1.events_pb2 import UsageEvent
from ams_common import topics
from ams_common.clock import utc_now
from ams_common.database import Change

from usage_svc.events import check_event
from usage_svc.messages import delta_message
from usage_svc.store import Store


async def count_usage_events(change: Change[Store], messages: Sequence[UsageEvent]) -> None:
    """Counts each event that was not counted before, and tells billing what they add up to.

    Raises MalformedEventError for the first one that can't be counted; then none of `messages` is.
    """
    now = utc_now()
    events = [check_event(message, now) for message in messages]
    await change.store.ensure_partitions(days=list({event.occurred_at.date() for event in events}))
    # In the transaction that moves the offset too: a crash leaves raw events, rollups and deltas, or nothing.
    for usage in await change.store.add_events(events):
        change.publish(topics.USAGE_AGGREGATED, str(usage.consumer_id), delta_message(usage))
