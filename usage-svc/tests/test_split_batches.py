from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from ams.usage.v1.events_pb2 import ANSWERED, CLIENT_CLOSED, UPSTREAM_FAILED, UsageEvent
from ams_common.clock import from_timestamp, utc_now
from ams_common.database import Database
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# (which subject, seconds ago, outcome, status code, bytes, whether it goes on, whether it is a test)
SKETCHES = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 40 * 24 * 3600),
        st.sampled_from([ANSWERED, CLIENT_CLOSED, UPSTREAM_FAILED]),
        st.sampled_from([200, 204, 404, 499, 502]),
        st.integers(0, 1 << 40),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Any], list[list[int]]]:
    """Sketches of events, and batches of their indexes: each at least once, in any order and split."""
    sketches = draw(SKETCHES)
    indexes = list(range(len(sketches)))
    order = draw(st.permutations(indexes + draw(st.lists(st.sampled_from(indexes), max_size=12))))
    cuts = sorted(draw(st.sets(st.integers(1, len(order)), max_size=4)) | {len(order)})
    return sketches, [order[start:end] for start, end in zip([0, *cuts], cuts, strict=False)]


@given(deliveries())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_split_and_duplication_gives_the_plain_sum(
    new_subject: Any,
    ingest: Any,
    figures: Any,
    database: Database,
    delivery: tuple[list[Any], list[list[int]]],
) -> None:
    async with database.change_by_system("test", audited=False) as change:
        await change.connection.execute("TRUNCATE usage_events, usage_rollups, outbox")
    sketches, batches = delivery
    now, subjects = utc_now(), [new_subject() for _ in range(3)]
    events = [
        subjects[who].event(
            now - timedelta(seconds=ago),
            outcome=outcome,
            status_code=status,
            request_bytes=size,
            is_continuation=goes_on,
            is_test=is_test,
        )
        for who, ago, outcome, status, size, goes_on, is_test in sketches
    ]
    for batch in batches:
        await ingest([events[index] for index in batch])
    assert await rolled_up(database) == plain_sum(events)
    deltas = await figures.deltas()
    told = [event for event in events if not event.is_test]
    assert sum(delta.requests for delta in deltas) == sum(not event.is_continuation for event in told)
    assert sum(delta.billable_requests for delta in deltas) == sum(is_charged(event) for event in told)
    assert sum(delta.request_bytes for delta in deltas) == sum(e.request_payload_size_bytes for e in told)


def is_charged(event: UsageEvent) -> bool:
    return event.outcome != UPSTREAM_FAILED and not event.is_continuation and not event.is_test


def plain_sum(events: Sequence[UsageEvent]) -> dict[tuple[Any, ...], Counter[str]]:
    """The rollups as plain Python makes them."""
    sums: dict[tuple[Any, ...], Counter[str]] = {}
    for event in events:
        at = from_timestamp(event.timestamp).replace(second=0, microsecond=0)
        buckets: dict[str, datetime] = {
            "minute": at,
            "hour": at.replace(minute=0),
            "day": at.replace(minute=0, hour=0),
        }
        for granularity, bucket in buckets.items():
            key = (granularity, bucket, event.consumer_id, f"{event.status_code // 100}xx")
            sums.setdefault(key, Counter()).update(
                requests=int(not event.is_continuation),
                billable=int(is_charged(event)),
                request_bytes=event.request_payload_size_bytes,
                response_bytes=event.response_payload_size_bytes,
                time_ms=0 if event.is_continuation else event.response_time_ms,
            )
    return sums


async def rolled_up(database: Database) -> dict[tuple[Any, ...], Counter[str]]:
    """The rollups as the database has them, in the same form."""
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT * FROM usage_rollups")
    return {
        (row["granularity"], row["bucket_start"], str(row["consumer_id"]), row["status_class"]): Counter(
            requests=row["requests"],
            billable=row["billable_requests"],
            request_bytes=row["request_bytes"],
            response_bytes=row["response_bytes"],
            time_ms=row["response_time_ms_sum"],
        )
        for row in rows
    }
