"""What usage-svc does with the gateways' usage events."""

from collections.abc import Sequence

import asyncpg
from ams.usage.v1.events_pb2 import UsageDelta, UsageEvent
from ams_common import topics
from ams_common.clock import utc_now
from ams_common.database import Change
from ams_common.ids import uuid7

from usage_svc.events import check_event
from usage_svc.store import Store


class Ingest:
    """Raw events, rollups and the deltas for billing, all in the transaction that moves the offset."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def handle(self, change: Change, messages: Sequence[UsageEvent]) -> None:
        """Count each event that was not counted before. Raises MalformedEventError for the first one that
        can't be counted; then none of `messages` is."""
        now = utc_now()
        batch = [check_event(message, now) for message in messages]
        await self._store.ensure_partitions(change.connection, {event.occurred_at.date() for event in batch})
        for row in await self._store.add_events(change.connection, batch):
            change.publish(topics.USAGE_AGGREGATED, str(row["consumer_id"]), _delta(row))


def _delta(row: asyncpg.Record) -> UsageDelta:
    return UsageDelta(
        delta_id=str(uuid7()),
        period=row["period"],
        merchant_id=str(row["merchant_id"]),
        consumer_id=str(row["consumer_id"]),
        service_id=str(row["service_id"]),
        price_version_id=str(row["price_version_id"]),
        requests=row["requests"],
        billable_requests=row["billable_requests"],
        request_bytes=row["request_bytes"],
        response_bytes=row["response_bytes"],
    )
