"""What usage-svc does with the gateways' usage events."""

from collections.abc import Sequence

from ams.usage.v1.events_pb2 import UsageEvent, UsageEventBatch
from ams_common import topics
from ams_common.clock import utc_now
from ams_common.database import Change

from usage_svc.events import MalformedEventError, MeteredRequest, check_event
from usage_svc.messages import delta_message
from usage_svc.store import Store


async def count_usage_events(change: Change[Store], messages: Sequence[UsageEventBatch]) -> None:
    """Counts each event that was not counted before, and tells billing what they add up to.

    Raises MalformedEventError for the first message that is an event by itself and can't be counted; then
    none of `messages` is. One within a batch that can't be counted doesn't keep the others from it.
    """
    now = utc_now()
    events: list[MeteredRequest] = []
    for message in messages:
        if not message.events:
            events.append(check_event(single_event(message), now))
            continue
        for event in message.events:
            try:
                events.append(check_event(event, now))
            except MalformedEventError:
                # It comes again by itself, and is then dead-lettered as what it is.
                change.publish(topics.USAGE_EVENTS, event.consumer_id, event)
    if not events:
        return
    await change.store.ensure_partitions(days=list({event.occurred_at.date() for event in events}))
    # In the transaction that moves the offset too: a crash leaves raw events, rollups and deltas, or nothing.
    for usage in await change.store.add_events(events):
        change.publish(topics.USAGE_AGGREGATED, str(usage.consumer_id), delta_message(usage))


def single_event(message: UsageEventBatch) -> UsageEvent:
    """The event that was read as a batch: all of its fields are unknown to that, and so kept as they are."""
    return UsageEvent.FromString(message.SerializeToString())
