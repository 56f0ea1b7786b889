import random

import pytest
from ams.usage.v1 import usage_service_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st
from usage_svc.questions.spikes import LEAST_PREDECESSORS, Spike, find_spikes

STEADY = [100, 104, 97, 101, 99, 103, 98, 100, 102, 96]


def buckets(requests: list[int], granularity: pb.Granularity.ValueType = pb.MINUTE) -> list[int]:
    return [spike.bucket for spike in find_spikes(requests, granularity, len(requests))]


@pytest.mark.parametrize(
    ("requests", "is_spike"), [(300, True), (10, True), (0, True), (130, False), (80, False)]
)
def test_far_more_and_far_less_than_before_are_spikes(requests: int, is_spike: bool) -> None:
    found = find_spikes([*STEADY, requests], pb.MINUTE, len(STEADY) + 1)
    assert found == ([Spike(len(STEADY), 100)] if is_spike else [])


def test_a_spike_does_not_hide_the_next_one_nor_make_one_of_what_follows() -> None:
    assert buckets([*STEADY, 900, 101, 99, 900, 100]) == [10, 13]


def test_steady_traffic_has_no_spike_though_its_buckets_are_all_alike() -> None:
    assert buckets([50] * 100) == []
    assert buckets([50] * 100 + [58]) == []


def test_a_few_requests_more_are_no_spike_where_it_was_quiet() -> None:
    assert buckets([1] * 30 + [15]) == []
    assert buckets([0, 1] * 15 + [40]) == [30]


def test_chance_makes_hardly_any_spike() -> None:
    rng = random.Random(9)
    found = sum(
        len(buckets([sum(rng.random() < 0.05 for _ in range(2000)) for _ in range(60)])) for _ in range(20)
    )
    assert found <= 4  # of 1,200 buckets of about 100 requests each


def test_days_and_nights_are_none() -> None:
    """By the hour, the same hour of the days before is what is expected."""
    day = [5] * 8 + [400] * 10 + [50] * 6
    assert buckets(day * 14, pb.HOUR) == [
        n for n in buckets(day * 14, pb.HOUR) if n < 24 * LEAST_PREDECESSORS
    ]
    busy = day * 14
    busy[24 * 13 + 3] = 400  # as much at night as at noon
    assert buckets(busy, pb.HOUR)[-1] == 24 * 13 + 3


def test_weekends_are_none() -> None:
    week = [1000, 1010, 990, 1005, 995, 100, 90]
    assert [n for n in buckets(week * 12, pb.DAY) if n >= 7 * LEAST_PREDECESSORS] == []


def test_the_start_of_all_use_is_none() -> None:
    assert buckets([0] * 50 + STEADY) == []


def test_what_still_goes_on_can_be_too_much_but_not_too_little() -> None:
    assert find_spikes([*STEADY, 3], pb.MINUTE, len(STEADY)) == []
    assert find_spikes([*STEADY, 0, 0, 0], pb.MINUTE, len(STEADY)) == []
    assert [spike.bucket for spike in find_spikes([*STEADY, 300], pb.MINUTE, len(STEADY))] == [10]


@given(
    st.lists(st.integers(0, 10**9), max_size=200),
    st.sampled_from(pb.Granularity.values()),
    st.integers(0, 200),
)
def test_whatever_came_a_spike_is_far_from_what_was_expected(
    requests: list[int], granularity: pb.Granularity.ValueType, ended: int
) -> None:
    ended = min(ended, len(requests))
    for bucket, expected in find_spikes(requests, granularity, ended):
        assert LEAST_PREDECESSORS <= bucket <= ended
        assert abs(requests[bucket] - expected) > 20
        assert min(requests[:bucket]) <= expected <= max(requests[:bucket])
