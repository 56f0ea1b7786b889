"""Which buckets a question is about, and which rollups answer it."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

import pytest
from ams.policy.v1.policy_pb2 import CONSUMER
from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.errors import InvalidArgumentError
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from usage_svc.questions.cover import Rollup, cover
from usage_svc.questions.ranges import MAX_BUCKETS, Period, day_in_zone, moment, period_of
from usage_svc.questions.scopes import Asker, Scope
from usage_svc.questions.usage import Question

NOW = datetime(2026, 11, 22, 12, 34, 56, 789, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GRAINS = [pb.MINUTE, pb.HOUR, pb.DAY, pb.MONTH]
ZONES = sorted(available_timezones())


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def starts(period: Period) -> list[str]:
    return [f"{bound:%Y-%m-%d %H:%M}" for bound in period.bounds]


@pytest.mark.parametrize(
    ("granularity", "start", "end"),
    [
        (pb.MINUTE, "2026-11-22 11:34", "2026-11-22 12:35"),
        (pb.HOUR, "2026-11-21 12:00", "2026-11-22 13:00"),
        (pb.DAY, "2026-10-23", "2026-11-23"),
        (pb.GRANULARITY_UNSPECIFIED, "2026-10-23", "2026-11-23"),
        (pb.MONTH, "2025-11-01", "2026-12-01"),
    ],
)
def test_without_edges_it_is_the_latest_span_of_the_granularity(
    granularity: pb.Granularity.ValueType, start: str, end: str
) -> None:
    chosen = period_of(None, None, granularity, "", NOW)
    assert (chosen.start, chosen.end) == (at(start), at(end))
    assert chosen.granularity == (granularity or pb.DAY)


def test_the_edges_are_moved_outwards_to_whole_buckets() -> None:
    chosen = period_of(at("2026-11-01 10:59:59"), at("2026-11-01 12:00:01"), pb.HOUR, "", NOW)
    assert (chosen.start, chosen.end) == (at("2026-11-01 10:00"), at("2026-11-01 13:00"))


def test_whole_buckets_stay_as_they_are() -> None:
    chosen = period_of(at("2026-11-01"), at("2026-12-01"), pb.DAY, "", NOW)
    assert (chosen.start, chosen.end) == (at("2026-11-01"), at("2026-12-01"))
    assert chosen.previous_start == at("2026-10-02")


def test_a_start_alone_reaches_to_now_and_an_end_alone_a_span_back() -> None:
    since = period_of(at("2026-11-22 10:00"), None, pb.HOUR, "", NOW)
    until = period_of(None, at("2026-11-10"), pb.HOUR, "", NOW)
    assert (since.start, since.end) == (at("2026-11-22 10:00"), at("2026-11-22 13:00"))
    assert (until.start, until.end) == (at("2026-11-09"), at("2026-11-10"))


def test_a_day_has_as_many_hours_as_the_clocks_give_it() -> None:
    """In Zurich summer began on 2026-03-29, and ended on 2026-10-25."""
    spring = period_of(at("2026-03-28 23:00"), at("2026-03-30 22:00"), pb.DAY, "Europe/Zurich", NOW)
    assert starts(spring) == ["2026-03-28 23:00", "2026-03-29 22:00", "2026-03-30 22:00"]
    autumn = period_of(at("2026-10-24 22:00"), at("2026-10-25 23:00"), pb.DAY, "Europe/Zurich", NOW)
    assert autumn.end - autumn.start == timedelta(hours=25) and len(autumn.bounds) == 2


def test_a_month_begins_as_in_the_zone_and_the_one_before_it_too() -> None:
    chosen = period_of(at("2026-03-15"), at("2026-04-15"), pb.MONTH, "America/New_York", NOW)
    assert starts(chosen) == ["2026-03-01 05:00", "2026-04-01 04:00", "2026-05-01 04:00"]
    assert chosen.previous_start == at("2026-01-01 05:00")


@pytest.mark.parametrize(
    ("zone", "start", "end", "expected"),
    [
        # Clocks skipped midnight: the day began at one.
        (
            "America/Santiago",
            "2026-09-05 04:00",
            "2026-09-07 03:00",
            ["2026-09-05 04:00", "2026-09-06 04:00", "2026-09-07 03:00"],
        ),
        # They struck midnight twice: the day began with the first.
        (
            "America/Havana",
            "2026-11-01 03:30",
            "2026-11-02 05:00",
            ["2026-10-31 04:00", "2026-11-01 04:00", "2026-11-02 05:00"],
        ),
        # Samoa went without 2011-12-30.
        (
            "Pacific/Apia",
            "2011-12-29 10:00",
            "2011-12-31 10:00",
            ["2011-12-29 10:00", "2011-12-30 10:00", "2011-12-31 10:00"],
        ),
    ],
)
def test_days_that_clocks_bend_follow_each_other(
    zone: str, start: str, end: str, expected: list[str]
) -> None:
    assert starts(period_of(at(start), at(end), pb.DAY, zone, NOW)) == expected


@pytest.mark.parametrize("start", ["2026-11-02", "2026-11-03"])
def test_an_empty_range_is_invalid(start: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        period_of(at(start), at("2026-11-02"), pb.DAY, "", NOW)
    assert raised.value.code == "range_invalid"


@pytest.mark.parametrize("granularity", [pb.MINUTE, pb.HOUR, pb.DAY])
def test_1500_buckets_are_the_most(granularity: pb.Granularity.ValueType) -> None:
    buckets = {pb.MINUTE: timedelta(minutes=1), pb.HOUR: timedelta(hours=1), pb.DAY: timedelta(days=1)}
    start = at("2020-01-01")
    end = start + 1500 * buckets[granularity]
    assert period_of(start, end, granularity, "", NOW).end == end
    with pytest.raises(InvalidArgumentError) as raised:
        period_of(start, end + timedelta(microseconds=1), granularity, "", NOW)
    assert raised.value.code == "range_too_large"


moments = st.datetimes(timezones=st.just(UTC))
recent = st.timedeltas(timedelta(0), timedelta(days=5500)).map(lambda span: at("2015-01-01") + span)


@given(
    st.none() | moments | recent,
    st.none() | moments | recent,
    st.sampled_from(GRAINS),
    st.sampled_from(ZONES),
)
def test_any_range_is_refused_or_covers_what_was_asked_in_whole_buckets(
    start: datetime | None, end: datetime | None, granularity: pb.Granularity.ValueType, zone: str
) -> None:
    try:
        chosen = period_of(start, end, granularity, zone, NOW)
    except InvalidArgumentError as error:
        assert error.code in ("range_invalid", "range_too_large")
        return
    assert (start is None or chosen.start <= start) and chosen.end >= (end or NOW)
    assert 1 <= len(chosen.bounds) - 1 <= MAX_BUCKETS
    assert all(one < next_one for one, next_one in pairwise(chosen.bounds))
    assert chosen.previous_start < chosen.start


@given(recent, st.sampled_from(ZONES))
def test_a_day_is_where_the_zones_clocks_show_it(at: datetime, zone: str) -> None:
    day = at.astimezone(ZoneInfo(zone)).date().isoformat()
    start, end = day_in_zone(day, zone)
    # Where a clock was set back over midnight a date comes twice, and its second part is the next day's.
    assert (start <= at and timedelta(0) < end - start <= timedelta(hours=25, minutes=30)) or at < start


@pytest.mark.parametrize("seconds", [2**62, -(2**62), 253_402_300_800])
def test_a_time_that_no_calendar_has_is_invalid(seconds: int) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        moment(Timestamp(seconds=seconds), "start")
    assert raised.value.code == "range_invalid"


def floor(rollup: Rollup, at: datetime) -> datetime:
    if rollup is Rollup.MONTH:
        return datetime(at.year, at.month, 1, tzinfo=UTC)
    length: timedelta = rollup.value
    return at - (at - EPOCH) % length


def read(
    bounds: tuple[datetime, ...], granularity: pb.Granularity.ValueType, at: list[datetime]
) -> list[int]:
    """How many of the moments each bucket holds, as it is read of rollups."""
    found = [0] * (len(bounds) - 1)
    for reading in cover(bounds, granularity):
        floors = [floor(reading.rollup, each) for each in at]
        assert all(floor(reading.rollup, each) == each for each in (*reading.starts, *reading.ends))
        assert all(end <= start for end, start in zip(reading.ends, reading.starts[1:], strict=False))
        for start, end, additions in zip(reading.starts, reading.ends, reading.additions, strict=True):
            for bucket, sign in additions:
                found[bucket] += sign * sum(start <= each < end for each in floors)
    return found


@given(st.data(), st.sampled_from([pb.DAY, pb.MONTH, pb.HOUR, pb.MINUTE]), st.sampled_from(ZONES))
def test_what_is_read_of_rollups_is_what_was_used_in_each_bucket(
    data: st.DataObject, granularity: pb.Granularity.ValueType, zone: str
) -> None:
    """In every zone there is, to the microsecond; also in the period before."""
    start = data.draw(recent)
    days = {pb.DAY: 12, pb.MONTH: 100, pb.HOUR: 2, pb.MINUTE: 0.02}[granularity]
    period = period_of(start, start + timedelta(days=days), granularity, zone, NOW)
    bounds = (period.previous_start, *period.bounds)
    span = (bounds[-1] - bounds[0]).total_seconds()
    near = [bound + timedelta(microseconds=tick) for bound in bounds for tick in (-1, 0, 1)]
    offsets = data.draw(st.lists(st.floats(-0.1, 1.1), max_size=40))
    used = near + [bounds[0] + timedelta(seconds=span * offset) for offset in offsets]
    expected = [sum(one <= each < other for each in used) for one, other in pairwise(bounds)]
    assert read(bounds, granularity, used) == expected


@given(recent, st.integers(0, 800), st.sampled_from(GRAINS[1:]), st.sampled_from(ZONES), st.data())
def test_sums_over_a_whole_period_are_read_once_however_long_it_is(
    start: datetime, days: int, granularity: pb.Granularity.ValueType, zone: str, data: st.DataObject
) -> None:
    end = start + timedelta(days=min(days, 60) if granularity == pb.HOUR else days + 1, hours=1)
    period = period_of(start, end, granularity, zone, NOW)
    question = Question(Scope(Asker(CONSUMER, UUID(int=1))), period, pb.KEY, [2], 1, False)
    near = [period.start + timedelta(microseconds=tick) for tick in (-1, 0, 1)]
    near += [period.end + timedelta(microseconds=tick) for tick in (-1, 0, 1)]
    used = near + data.draw(
        st.lists(st.timedeltas(timedelta(-90), timedelta(900)).map(start.__add__), max_size=40)
    )
    within = sum(period.start <= each < period.end for each in used)
    found = looked_at = 0
    for reading in question.whole():
        for first, last, additions in zip(reading.starts, reading.ends, reading.additions, strict=True):
            sign = sum(each.sign for each in additions)
            found += sign * sum(first <= floor(reading.rollup, each) < last for each in used)
    for rollup, first, last in question.stretches():
        assert floor(rollup, first) == first and floor(rollup, last) == last
        looked_at += sum(first <= each < last for each in used)
    assert (found, looked_at) == (within, within)


def test_the_coarsest_rollups_that_fit_are_read() -> None:
    def rollups(granularity: pb.Granularity.ValueType, zone: str) -> dict[Rollup, timedelta]:
        period = period_of(at("2025-11-01"), at("2026-11-01"), granularity, zone, NOW)
        read: dict[Rollup, timedelta] = {}
        for reading in cover(period.bounds, granularity):
            spans = zip(reading.starts, reading.ends, strict=True)
            read[reading.rollup] = sum((end - start for start, end in spans), timedelta(0))
        return read

    assert set(rollups(pb.DAY, "UTC")) == {Rollup.DAY}
    assert set(rollups(pb.MONTH, "UTC")) == {Rollup.MONTH}
    zurich = rollups(pb.DAY, "Europe/Zurich")
    assert zurich[Rollup.HOUR] < timedelta(hours=2 * 370) and Rollup.MINUTE not in zurich
    kolkata = rollups(pb.DAY, "Asia/Kolkata")
    assert kolkata[Rollup.MINUTE] <= timedelta(minutes=30 * 370)
    assert rollups(pb.MONTH, "Europe/Zurich")[Rollup.HOUR] < timedelta(hours=2 * 14)
    assert set(rollups(pb.MONTH, "Europe/Zurich")) == {Rollup.MONTH, Rollup.HOUR}
