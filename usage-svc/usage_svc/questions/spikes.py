"""Buckets in which there was far more, or far less, than those before them let expect. Pure.

What is expected is the median of the predecessors, and how far they usually are from it the median of their
distances (MAD): both are the same whether one of the predecessors was a spike itself or not, which a mean
and a standard deviation are not. By the hour the predecessors are the same hour of the days before, by the
day the same day of the weeks before, as soon as there are enough of them; until then the buckets just
before.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import median
from typing import NamedTuple

from ams.usage.v1 import usage_service_pb2 as pb

# With fewer predecessors nothing is expected.
LEAST_PREDECESSORS = 5
_MOST_PREDECESSORS = 24
# How many usual distances away a spike is at least. A MAD is 0.67 standard deviations, so these are about
# four.
_DISTANCES = 6.0
# Fewer requests than that more or less are no spike, however quiet it was before.
_LEAST_DIFFERENCE = 20
_SEASONS: Mapping[pb.Granularity.ValueType, int] = {pb.HOUR: 24, pb.DAY: 7}


class Spike(NamedTuple):
    """A bucket by its number, and how many requests the ones before it let expect."""

    bucket: int
    expected: float


def find_spikes(requests: Sequence[int], granularity: pb.Granularity.ValueType, ended: int) -> list[Spike]:
    """Those among buckets of so many requests. Only the first `ended` buckets are over: what is still going
    on may be a spike already, but not yet too little."""
    first = next((number for number, count in enumerate(requests) if count), len(requests))
    found = []
    # Before anything was used there was nothing to expect anything from; after `ended`, one bucket goes on.
    for bucket in range(first, min(len(requests), ended + 1)):
        before = _predecessors(requests, first, bucket, _SEASONS.get(granularity, 1))
        if len(before) < LEAST_PREDECESSORS:
            continue
        expected = median(before)
        difference = requests[bucket] - expected
        # What comes by chance is about the root of how much comes, even if the predecessors were all alike.
        if abs(difference) <= max(_DISTANCES * 0.67 * sqrt(expected), _LEAST_DIFFERENCE):
            continue
        usual = median(abs(count - expected) for count in before)
        if abs(difference) > _DISTANCES * usual and (difference > 0 or bucket < ended):
            found.append(Spike(bucket, expected))
    return found


def _predecessors(requests: Sequence[int], first: int, bucket: int, season: int) -> Sequence[int]:
    of_season = min((bucket - first) // season, _MOST_PREDECESSORS)
    if of_season >= LEAST_PREDECESSORS:
        return requests[bucket - of_season * season : bucket : season]
    return requests[max(first, bucket - _MOST_PREDECESSORS) : bucket]
