"""What usage-svc does with what the gateways tell: usage events, and how many of them they have forwarded."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import numpy as np
from ams.usage.v1.events_pb2 import ForwardedTotal, UsageEventBatch
from ams_common import topics
from ams_common.clock import Clock, utc_now
from ams_common.database import Change, Database
from ams_common.faults import TryAgainError
from ams_common.subscriptions import Batch, Record, Rejection, Subscription

from usage_svc.columns import EventColumns, date_of, joined
from usage_svc.events import LATE_AFTER, us_since_1970
from usage_svc.partitions import Partitions
from usage_svc.reading import events_of, read_batch
from usage_svc.store import Store
from usage_svc.totals import forwarded_rows, total_messages


@dataclass(frozen=True, slots=True)
class PreparedEvents:
    """What is applied of a batch."""

    events: EventColumns
    source: str


class UsageIntake:
    """Counts each event that was not counted before, and tells billing what their groups come to by now."""

    topic = topics.USAGE_EVENTS
    package = "usage_svc"

    def __init__(self, partitions: Partitions, now: Clock = utc_now) -> None:
        self._partitions = partitions
        self._now = now

    def read(self, value: bytes) -> UsageEventBatch:
        return UsageEventBatch(events=events_of(value))

    def prepare(self, batch: Batch) -> tuple[PreparedEvents, list[Rejection]]:
        events, rejections = read_batch(batch, self._now(), self._partitions.archived_through)
        return PreparedEvents(events, batch.source), rejections

    def merge(self, prepared: Sequence[PreparedEvents]) -> PreparedEvents:
        return PreparedEvents(joined([each.events for each in prepared]), prepared[0].source)

    async def make_ready(self, prepared: PreparedEvents) -> None:
        await self._partitions.ensure(date_of(day) for day in np.unique(prepared.events.day).tolist())

    async def apply(self, change: Change[Store], prepared: PreparedEvents) -> None:
        events = prepared.events
        if not len(events):
            return
        # In the transaction that moves the offset too: a crash leaves events, rollups and totals, or none.
        try:
            totals = await change.store.add_events(events, prepared.source)
        except asyncpg.PostgresError as error:
            if not _will_pass(error):
                raise
            self._partitions.forget()
            raise TryAgainError(repr(error)) from error
        late = events.occurred_at_us < us_since_1970(self._now() - LATE_AFTER)
        if late.any():
            await change.store.mark_late(series_ids=np.unique(events.series_id[late]).tolist())
        series = {each.series_id: each for each in events.series.tolist()}
        for consumer_id, message in total_messages(totals, series):
            change.publish(topics.USAGE_AGGREGATED, consumer_id, message)

    async def replay(self, change: Change[Store], record: Record, prepared: PreparedEvents) -> None:
        """Sends the events to the topic once more. Counted at their old offset, they would be behind what an
        invoice has billed of their source, and in no invoice's proof; and whoever reads the topic again after
        a restore would count them elsewhere. This way they are counted where any reader finds them."""
        events = self.read(record.value)
        change.publish(self.topic, events.events[0].consumer_id, events)


def _will_pass(error: asyncpg.PostgresError) -> bool:
    """A partition has been dropped meanwhile, or another process has added one of the events."""
    if isinstance(error, asyncpg.CheckViolationError):
        # Without a constraint: no partition takes the row.
        return error.constraint_name is None
    return isinstance(error, asyncpg.UndefinedTableError | asyncpg.UniqueViolationError)


async def keep_forwarded_totals(change: Change[Store], messages: Sequence[ForwardedTotal]) -> None:
    """Keeps the greatest of each gateway's totals. Raises MalformedTotalError."""
    await change.store.keep_greatest_forwarded(forwarded_rows(messages))


def topic_handlers(database: Database[Store]) -> list[UsageIntake | Subscription[ForwardedTotal]]:
    """For each topic that usage-svc reads."""
    return [
        UsageIntake(Partitions(database)),
        Subscription(topics.USAGE_FORWARDED, ForwardedTotal, keep_forwarded_totals),
    ]
