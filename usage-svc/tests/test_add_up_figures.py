"""Figures of buckets and groups, from what the rollups' slots add up to."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.database import Database
from hypothesis import given
from hypothesis import strategies as st
from usage_svc import latencies
from usage_svc.questions import figures as module
from usage_svc.questions.cover import Addition, Reading, Rollup
from usage_svc.questions.figures import SlotSums, figures_of
from usage_svc.questions.groups import Counted
from usage_svc.questions.histograms import quantiles_ms, read_counts

START = datetime(2026, 11, 1, tzinfo=UTC)
times = st.lists(st.integers(0, latencies.MAX_MS) | st.integers(0, 300), max_size=30)


def sent(number: str) -> bytes:
    """As PostgreSQL sends a numeric: numeric_send() in its sources."""
    digits = format(Decimal(number), "f")
    digits = digits.zfill(-(-len(digits) // 4) * 4)
    words = [int(digits[place : place + 4]) for place in range(0, len(digits), 4)]
    weight = len(words) - 1
    while words and not words[-1]:
        words.pop()
    return np.array([len(words), weight if words else 0, 0, 0, *words], dtype=">i2").tobytes()


async def test_numbers_are_read_as_postgresql_sends_them(database: Database) -> None:
    numbers = [
        "0",
        "1",
        "9999",
        "10000",
        *(latencies.number([ms] * 12_345) for ms in (0, 1, 49, 2000, 2**31 - 1)),
    ]
    async with database.connection() as connection:
        for number in numbers:
            assert await connection.fetchval("SELECT numeric_send($1::text::numeric)", number) == sent(number)
    assert read_counts([sent(number) for number in numbers]).tolist()[0][0] == 0


@given(st.lists(times, min_size=1, max_size=20))
def test_histograms_read_together_are_those_read_one_by_one(several: list[list[int]]) -> None:
    numbers = [latencies.number(each) for each in several]
    counts = read_counts([sent(number) for number in numbers])
    shares = (0, 0.5, 0.95, 0.99, 1)
    for row, number in zip(counts, numbers, strict=True):
        one = latencies.counts_of(Decimal(number))
        held = row[: len(one)]
        assert held.tolist() == one[: len(held)].tolist()
        assert not row[len(one) :].any() and not one[len(held) :].any()
    assert quantiles_ms(counts, shares) == [
        latencies.quantiles_ms(Decimal(number), shares) for number in numbers
    ]


def slot(slot_no: int, group_no: int, times_ms: list[int]) -> SlotSums:
    count = len(times_ms)
    number = sent(latencies.number(times_ms))
    sums = (count, count, count // 2, count * 3, count * 5, sum(times_ms), count * 7, count * 11)
    return SlotSums(slot_no, group_no, *sums, number)


def expected(times_ms: list[int]) -> pb.UsageFigures:
    count = len(times_ms)
    p50, p95, p99 = latencies.quantiles_ms(Decimal(latencies.number(times_ms)), (0.5, 0.95, 0.99))
    return pb.UsageFigures(
        requests=count,
        billable_requests=count,
        request_bytes=count * 3,
        response_bytes=count * 5,
        mean_response_time_ms=sum(times_ms) / count if count else 0,
        p50_response_time_ms=p50,
        p95_response_time_ms=p95,
        p99_response_time_ms=p99,
        request_messages=count * 7,
        response_messages=count * 11,
    )


def without_errors(figures: pb.UsageFigures) -> pb.UsageFigures:
    figures.errors = 0  # halves of parts don't add up to the half of all
    return figures


@given(
    st.dictionaries(st.tuples(st.integers(0, 6), st.integers(0, 3)), times.filter(bool), max_size=12),
    st.dictionaries(st.tuples(st.integers(1, 6), st.integers(0, 3)), times.filter(bool), max_size=6),
    st.integers(1, 5),
)
def test_figures_are_those_of_all_calls_of_a_bucket_and_group(
    by_cell: dict[tuple[int, int], list[int]], moved: dict[tuple[int, int], list[int]], block: int
) -> None:
    """Where some calls are read in the bucket behind theirs, and moved into the one before; in blocks of any
    size; the first bucket is the period before."""
    days = Reading(Rollup.DAY, is_contiguous=True)
    hours = Reading(Rollup.HOUR, is_contiguous=False)
    for bucket in range(7):
        start = START + timedelta(days=bucket)
        days._add(start, start + timedelta(days=1), Addition(bucket, 1))
        before, behind = Addition(bucket - 1, 1), Addition(bucket, -1)
        hours._add(start, start + timedelta(hours=1), *([before] if bucket else []), behind)
    read: dict[tuple[int, int], list[int]] = defaultdict(list)
    true: dict[tuple[int, int], list[int]] = defaultdict(list)
    for (bucket, group), times_ms in by_cell.items():
        read[bucket, group] += times_ms
        true[bucket, group] += times_ms
    for (bucket, group), times_ms in moved.items():
        read[bucket, group] += times_ms
        true[bucket - 1, group] += times_ms
    readings = [
        (days, [slot(bucket + 1, group, times_ms) for (bucket, group), times_ms in read.items()]),
        (hours, [slot(bucket + 1, group, times_ms) for (bucket, group), times_ms in moved.items()]),
    ]
    as_they_are = [[Counted(group, 1)] for group in range(4)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        found = figures_of(readings, as_they_are, 4, range(1, 7))
        previous = figures_of(readings, as_they_are, 4, range(1)).total

    def together(buckets: range, groups: range) -> list[int]:
        return [ms for (b, g), times_ms in true.items() if b in buckets and g in groups for ms in times_ms]

    asked = sorted((cell, times_ms) for cell, times_ms in true.items() if cell[0] >= 1 and times_ms)
    assert [(tuple(cell), without_errors(each)) for cell, each in found.cells] == [
        (cell, expected(times_ms)) for cell, times_ms in asked
    ]
    assert [without_errors(each) for each in found.groups] == [
        expected(together(range(1, 7), range(group, group + 1))) for group in range(4)
    ]
    assert without_errors(found.total) == expected(together(range(1, 7), range(4)))
    assert without_errors(previous) == expected(together(range(1), range(4)))
