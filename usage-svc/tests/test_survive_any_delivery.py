"""However events are cut, repeated, reordered, refused and interrupted: totals are those of a plain sum."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from ams.usage.v1.events_pb2 import (
    ANSWERED,
    BROKEN_OFF,
    CLIENT_CLOSED,
    REFUSED,
    UNCHARGED,
    UPSTREAM_FAILED,
    UsageEvent,
    UsageEventBatch,
)
from ams_common.clock import from_timestamp, utc_now
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.subscriptions import Batch, Record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from usage_svc import latencies
from usage_svc.event_handlers import UsageIntake
from usage_svc.events import charge_class_of
from usage_svc.partitions import Partitions
from usage_svc.store import Store

LEVELS = ("minute", "hour", "day", "month")
TABLES = (
    "usage_events, rollups_by_minute, rollups_by_hour, rollups_by_day, rollups_by_month, day_totals, series,"
    " consumer_sums, sources, outbox"
)
SOURCES = [f"11111111-1111-4111-8111-111111111111/{number}" for number in range(2)]

# (which subject, seconds ago, outcome, status code, bytes, ms, whether it goes on, is a test, is acceptable)
SKETCHES = st.lists(
    st.tuples(
        st.integers(0, 7),
        st.integers(0, 40 * 24 * 3600),
        st.sampled_from([ANSWERED, CLIENT_CLOSED, UPSTREAM_FAILED, BROKEN_OFF, REFUSED]),
        st.sampled_from([200, 204, 404, 499, 502]),
        st.integers(0, 1 << 40),
        st.integers(0, 2**31 - 1),
        st.booleans(),
        st.booleans(),
        st.integers(0, 9).map(bool),
    ),
    min_size=1,
    max_size=14,
)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Any], list[tuple[list[int], int]]]:
    """Sketches of events, and batches of their indexes: each event at least once, in any order and cut. With
    each batch the step at which the process dies before it is handled again; 0: it doesn't."""
    sketches = draw(SKETCHES)
    indexes = list(range(len(sketches)))
    order = draw(st.permutations(indexes + draw(st.lists(st.sampled_from(indexes), max_size=12))))
    cuts = sorted(draw(st.sets(st.integers(1, len(order)), max_size=4)) | {len(order)})
    batches = [order[start:end] for start, end in zip([0, *cuts], cuts, strict=False)]
    return sketches, [(batch, draw(st.integers(0, 18))) for batch in batches]


class DiedError(Exception):
    """The process is gone, and its transaction with it."""


class _Dying:
    """A connection that fails at its n-th statement."""

    def __init__(self, connection: Any, statements: int) -> None:
        self._connection, self._left = connection, statements

    def __getattr__(self, name: str) -> Any:
        if name in ("fetch", "fetchrow", "fetchval", "execute", "copy_to_table"):
            self._left -= 1
            if self._left == 0:
                raise DiedError
        return getattr(self._connection, name)


@given(deliveries())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_totals_equal_the_plain_sum_of_the_events(
    new_subject: Any,
    figures: Any,
    database: Database[Store],
    delivery: tuple[list[Any], list[tuple[list[int], int]]],
) -> None:
    async with database.change_by_system("test", audited=False) as change:
        await change.connection.execute(f"TRUNCATE {TABLES}")
    sketches, batches = delivery
    # Two consumers with so many series each that their usage may get a sum on the way.
    consumers = [uuid7(), uuid7()]
    now, subjects = utc_now(), [new_subject(consumer_id=consumers[number % 2]) for number in range(8)]
    events = [
        subjects[who].event(
            now - timedelta(seconds=ago),
            outcome=outcome,
            status_code=status,
            request_bytes=size if is_good else -1,
            request_messages=size % 7,
            response_messages=size % 11,
            response_time_ms=time_ms,
            is_continuation=goes_on,
            is_test=is_test,
        )
        for who, ago, outcome, status, size, time_ms, goes_on, is_test, is_good in sketches
    ]
    intake, offset = UsageIntake(Partitions(database)), 0
    for indexes, dies_at in batches:
        # A consumer's events are always in the same partition.
        for source_number in (0, 1):
            batch = [events[index] for index in indexes if sketches[index][0] % 2 == source_number]
            value = UsageEventBatch(events=batch).SerializeToString()
            await _handle(
                database, intake, Batch(SOURCES[source_number], [Record(offset, None, value)]), dies_at
            )
            offset += 1
    good = [event for event in events if event.request_payload_size_bytes >= 0]
    assert await rolled_up(database) == plain_sum(good)
    told = [event for event in good if not event.is_test]
    assert await figures.told() == +Counter(
        requests=sum(not event.is_continuation for event in told),
        billable=sum(is_billable(event) for event in told),
        sent=sum(event.request_payload_size_bytes for event in told),
        received=sum(event.response_payload_size_bytes for event in told),
    )
    assert await figures.broken_invariants() == {}


async def _handle(database: Database[Store], intake: UsageIntake, batch: Batch, dies_at: int) -> None:
    if not UsageEventBatch.FromString(batch.records[0].value).events:
        return
    prepared, _ = intake.prepare(batch)
    await intake.make_ready(prepared)
    if dies_at:
        try:
            async with database.change_by_system("test", audited=False) as change:
                change.store.connection = _Dying(change.connection, dies_at)
                await intake.apply(change, prepared)
                raise DiedError
        except DiedError:
            pass
    async with database.change_by_system("test", audited=False) as change:
        await intake.apply(change, prepared)


def is_billable(event: UsageEvent) -> bool:
    is_charged = charge_class_of(event.outcome, event.status_code) != UNCHARGED
    return is_charged and not event.is_continuation and not event.is_test


def plain_sum(events: Sequence[UsageEvent]) -> dict[tuple[Any, ...], Counter[str]]:
    """The rollups as plain Python makes them."""
    sums: dict[tuple[Any, ...], Counter[str]] = {}
    times_ms: defaultdict[tuple[Any, ...], list[int]] = defaultdict(list)
    for event in events:
        at = from_timestamp(event.timestamp).replace(second=0, microsecond=0)
        buckets: dict[str, datetime] = {
            "minute": at,
            "hour": at.replace(minute=0),
            "day": at.replace(minute=0, hour=0),
            "month": at.replace(minute=0, hour=0, day=1),
        }
        is_call = not event.is_continuation
        for level, bucket in buckets.items():
            key = (level, bucket, event.api_key_id, event.status_code // 100)
            sums.setdefault(key, Counter()).update(
                requests=int(is_call),
                billable=int(is_billable(event)),
                request_bytes=event.request_payload_size_bytes,
                response_bytes=event.response_payload_size_bytes,
                request_messages=event.request_messages,
                response_messages=event.response_messages,
                time_ms=event.response_time_ms if is_call else 0,
            )
            times_ms[key] += [event.response_time_ms] * is_call
    for key, total in sums.items():
        for bucket_number, count in Counter(latencies.bucket_of(times_ms[key]).tolist()).items():
            total[f"bucket {bucket_number}"] = count
    return sums


async def rolled_up(database: Database) -> dict[tuple[Any, ...], Counter[str]]:
    """The rollups as the database has them, in the same form."""
    found: dict[tuple[Any, ...], Counter[str]] = {}
    async with database.connection() as connection:
        for level in LEVELS:
            for row in await connection.fetch(
                f"SELECT * FROM rollups_by_{level} JOIN series USING (series_id)"
            ):
                counts = latencies.counts_of(row["latencies"]).tolist()
                key = (level, row["bucket_start"], str(row["api_key_id"]), row["status_class"])
                found[key] = Counter(
                    requests=row["requests"],
                    billable=row["billable_requests"],
                    request_bytes=row["request_bytes"],
                    response_bytes=row["response_bytes"],
                    request_messages=row["request_messages"],
                    response_messages=row["response_messages"],
                    time_ms=row["response_time_ms_sum"],
                )
                found[key] += Counter({f"bucket {number}": count for number, count in enumerate(counts)})
    return found


def test_histograms_hold_their_times_to_one_percent() -> None:
    for time_ms in [*range(2_000), *(int(1.7**power) for power in range(14, 40)), latencies.MAX_MS]:
        (found,) = latencies.quantiles_ms(_plain(latencies.number([time_ms])), [0.5])
        assert abs(found - time_ms) <= 0.01 * time_ms, time_ms
        assert time_ms >= 50 or found == time_ms


@given(st.lists(st.integers(0, latencies.MAX_MS) | st.integers(0, 300), min_size=1, max_size=200))
def test_quantiles_are_those_of_the_times_to_one_percent(times_ms: list[int]) -> None:
    shares = [0, 0.5, 0.95, 0.99, 1]
    exact = [sorted(times_ms)[int(share * (len(times_ms) - 1))] for share in shares]
    found = latencies.quantiles_ms(_plain(latencies.number(times_ms)), shares)
    assert all(abs(a - b) <= 0.01 * b for a, b in zip(found, exact, strict=True))


def _plain(number: str) -> str:
    """As PostgreSQL writes it: without an exponent."""
    digits, _, zeros = number.partition("e")
    return digits + "0" * int(zeros or 0)


def test_an_empty_histogram_has_no_quantiles() -> None:
    assert latencies.quantiles_ms("0", [0.5]) == [0]
