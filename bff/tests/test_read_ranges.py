"""What the URL of a usage page asks for: presets, days of one's own, and the buckets that they make."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import usage_service_pb2 as pb
from ams_bff.usage.ranges import (
    DEFAULT_PRESET,
    FILTERS_OF,
    GROUPS_OF,
    PRESETS,
    UsageQuery,
    bucket_starts,
    midnight,
    span_ending,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ZONES = [
    ZoneInfo(name)
    for name in ("UTC", "Europe/Zurich", "America/Santiago", "Asia/Kathmandu", "Pacific/Apia", "Africa/Cairo")
]


def query(zone: str = "UTC", role: Role.ValueType = CONSUMER, **parameters: str) -> UsageQuery:
    named = {name.rstrip("_"): text for name, text in parameters.items()}
    return UsageQuery.parse(named, role, ZoneInfo(zone), NOW)


def test_a_span_ends_with_the_bucket_of_now() -> None:
    assert span_ending(NOW, pb.HOUR, 24) == (
        datetime(2026, 11, 21, 10, tzinfo=UTC),
        datetime(2026, 11, 22, 10, tzinfo=UTC),
    )
    day = datetime(2026, 11, 22, tzinfo=UTC)
    assert span_ending(NOW, pb.DAY, 1) == (day, day + timedelta(days=1))
    assert span_ending(NOW, pb.MONTH, 12) == (
        datetime(2025, 12, 1, tzinfo=UTC),
        datetime(2026, 12, 1, tzinfo=UTC),
    )


def test_days_begin_at_the_readers_midnight() -> None:
    asked = query("Europe/Zurich", from_="2026-10-24", to="2026-10-26")
    assert asked.start == datetime(2026, 10, 23, 22, tzinfo=UTC)
    assert asked.end == datetime(2026, 10, 26, 23, tzinfo=UTC)  # clocks were put back
    assert asked.words == "24 to 26 October 2026"


@given(
    zone=st.sampled_from(ZONES),
    first=st.dates(date(2020, 1, 1), date(2026, 11, 20)),
    count=st.integers(1, 800),
    grain=st.sampled_from([pb.HOUR, pb.DAY]),
)
def test_buckets_follow_each_other_from_the_first_to_the_end(
    zone: ZoneInfo, first: date, count: int, grain: pb.Granularity.ValueType
) -> None:
    start, end = midnight(first, zone), midnight(first + timedelta(days=count), zone)
    starts = bucket_starts(start, end, grain, zone)
    assert starts[0] == start
    assert all(before < after for before, after in pairwise([*starts, end]))
    longest = timedelta(hours=1) if grain == pb.HOUR else timedelta(hours=25, minutes=1)
    assert all(after - before <= longest for before, after in pairwise([*starts, end]))


@given(zone=st.sampled_from(ZONES), minutes=st.integers(0, 3_000_000))
def test_every_preset_has_as_many_buckets_as_it_says(zone: ZoneInfo, minutes: int) -> None:
    now = datetime(2021, 1, 1, 0, 0, 30, tzinfo=UTC) + timedelta(minutes=minutes)
    for preset in PRESETS.values():
        for grain, count in preset.buckets.items():
            start, end = span_ending(now, grain, count, zone)
            assert start <= now < end
            assert len(bucket_starts(start, end, grain, zone)) == count


@pytest.mark.parametrize(
    ("days", "grains"),
    [
        (("2026-11-22", "2026-11-22"), ["hour"]),
        (("2026-11-20", "2026-11-22"), ["hour", "day"]),
        (("2026-11-01", "2026-11-15"), ["day", "hour"]),
        (("2026-09-15", "2026-11-22"), ["day", "month"]),
        (("2025-12-01", "2026-11-22"), ["month", "day"]),
        (("2020-01-01", "2026-11-22"), ["month"]),
    ],
)
def test_days_are_shown_in_steps_that_a_chart_can_hold(days: tuple[str, str], grains: list[str]) -> None:
    names = {pb.HOUR: "hour", pb.DAY: "day", pb.MONTH: "month"}
    asked = query(from_=days[0], to=days[1])
    assert [names[each] for each in asked.granularities] == grains
    assert query(from_=days[0], to=days[1], by=grains[-1]).granularity_name == grains[-1]


@pytest.mark.parametrize(
    "parameters",
    [
        {"range": "nonsense"},
        {"from_": "2026-11-31"},
        {"from_": "2026-11-20", "to": "yesterday"},
        {"from_": "2026-11-22", "to": "2026-11-20"},
        {"from_": "0001-01-01"},
        {"to": "2026-11-20"},
    ],
)
def test_what_cannot_be_asked_for_is_as_if_it_had_not_been(parameters: dict[str, str]) -> None:
    named = {name.rstrip("_"): text for name, text in parameters.items()}
    asked = UsageQuery.parse(named, CONSUMER, ZoneInfo("UTC"), NOW)
    assert (asked.preset, asked.words) == (DEFAULT_PRESET, "the last 24 hours")


def test_days_end_today_at_the_latest() -> None:
    assert query(from_="2026-11-20", to="2027-01-01").days == (date(2026, 11, 20), date(2026, 11, 22))
    assert query("Pacific/Apia", from_="2026-11-20").days == (date(2026, 11, 20), date(2026, 11, 22))


def test_a_role_groups_and_filters_by_what_it_may() -> None:
    assert query(role=MERCHANT, group="project").group == "service"
    assert query(role=CONSUMER, group="consumer").group == "service"
    assert query(role=ADMIN, group="merchant").group == "merchant"
    assert query(role=MERCHANT, project="x", consumer="c-1").filters == {"consumer": "c-1"}
    assert set(GROUPS_OF) == set(FILTERS_OF)


def test_only_some_numbers_of_groups_can_be_had() -> None:
    assert (query(top="100").top, query(top="5000").top, query().top) == (100, 10, 10)
