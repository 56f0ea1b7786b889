"""A question about usage, from the request to the answer."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.clock import to_timestamp
from ams_common.pseudonyms import Pseudonyms

from usage_svc.events import Series
from usage_svc.questions.cover import Reading, cover
from usage_svc.questions.figures import Figures, SlotSums, figures_of
from usage_svc.questions.ranges import Period, moment, period_of, too_large
from usage_svc.questions.scopes import (
    OTHER,
    STATUS_CLASSES,
    Asker,
    Scope,
    check_group_by,
    group_names,
    scope_of,
    status_classes_of,
)
from usage_svc.questions.spikes import find_spikes

# What one answer may hold (well under the 4 MiB of a message).
MAX_POINTS = 20_000
MAX_GROUPS = 2_000


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked."""

    scope: Scope
    period: Period
    group_by: pb.GroupBy.ValueType
    status_classes: list[int]
    top: int
    with_previous: bool

    def whole(self) -> list[Reading]:
        """What to read for sums over the whole period, in one bucket."""
        return cover([self.period.start, self.period.end], self.period.granularity)

    def readings(self) -> list[Reading]:
        """What to read for the figures. With the period before, that is the first bucket."""
        before = [self.period.previous_start] if self.with_previous else []
        return cover([*before, *self.period.bounds], self.period.granularity)

    def buckets(self) -> range:
        """The numbers of the period's buckets in `readings`."""
        first = 1 if self.with_previous else 0
        return range(first, first + len(self.period.bounds) - 1)


def question_of(asker: Asker, request: pb.GetUsageRequest, now: datetime) -> Question:
    """The question that a request asks. Raises InvalidArgumentError."""
    check_group_by(asker, request.group_by)
    return Question(
        scope=scope_of(asker, request),
        period=period_of(
            moment(request.start, "start") if request.HasField("start") else None,
            moment(request.end, "end") if request.HasField("end") else None,
            request.granularity,
            request.time_zone,
            now,
        ),
        group_by=request.group_by,
        status_classes=status_classes_of(request.status_class),
        top=request.top,
        with_previous=request.with_previous,
    )


class SeriesSums(NamedTuple):
    """How much there was of a series and a status class."""

    series_id: int
    status_class: int
    requests: int
    request_and_response_bytes: int


class Used:
    """Which series were used in the period, and how much."""

    def __init__(self, sums: Iterable[SeriesSums]) -> None:
        self.requests: Counter[tuple[int, int]] = Counter()
        size_bytes: Counter[tuple[int, int]] = Counter()
        for each in sums:
            self.requests[each.series_id, each.status_class] += each.requests
            size_bytes[each.series_id, each.status_class] += each.request_and_response_bytes
        # A call that only goes on has bytes and is no request.
        self.series_ids = {key[0] for key in self.requests if self.requests[key] or size_bytes[key]}


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of an answer, by their numbers: by name, `other` last."""

    names: list[str]
    of_series: Mapping[int, int]
    # Of each status class, to be added to that of the series.
    of_class: Sequence[int]


def groups_of(question: Question, series: Sequence[Series], used: Used, pseudonyms: Pseudonyms) -> Groups:
    """The groups that were used, or the `top` of them. Raises InvalidArgumentError range_too_large."""
    is_by_class = question.group_by == pb.STATUS_CLASS
    of_series = group_names(question.scope.asker, question.group_by, series, pseudonyms)
    requests: Counter[str] = Counter()
    for (series_id, status_class), count in used.requests.items():
        if series_id in used.series_ids:
            name = STATUS_CLASSES[status_class - 1] if is_by_class else of_series[series_id]
            requests[name] += count
    ranked = sorted(requests, key=lambda name: (-requests[name], name))
    shown = ranked[: question.top] if question.top else ranked
    if len(shown) > MAX_GROUPS:
        raise too_large(f"There are more than {MAX_GROUPS} groups: ask for the top ones, or filter.")
    names = sorted(shown) + ([OTHER] if len(ranked) > len(shown) else [])
    numbers = {name: number for number, name in enumerate(sorted(shown))}
    # What was used in the period before only is in no group of this one; its total doesn't ask for any.
    last = len(names) - 1
    if is_by_class:
        return Groups(
            names, dict.fromkeys(of_series, 0), [numbers.get(name, last) for name in STATUS_CLASSES]
        )
    numbered = {series_id: numbers.get(name, last) for series_id, name in of_series.items()}
    return Groups(names, numbered, [0] * len(STATUS_CLASSES))


def report_of(
    question: Question,
    groups: Groups,
    used: Sequence[Series],
    readings: Sequence[tuple[Reading, Sequence[SlotSums]]],
    now: datetime,
) -> pb.UsageReport:
    """The answer. Raises InvalidArgumentError range_too_large."""
    period, buckets = question.period, question.buckets()
    figures = figures_of(readings, len(groups.names), buckets)
    if len(figures.cells) > MAX_POINTS:
        raise too_large("The report would have too many figures: ask for a shorter range or fewer groups.")
    starts = [to_timestamp(at) for at in period.bounds]
    report = pb.UsageReport(
        start=starts[0],
        end=starts[-1],
        granularity=period.granularity,
        points=[
            pb.UsagePoint(
                bucket_start=starts[cell.bucket - buckets.start],
                group=groups.names[cell.group_no],
                figures=each,
            )
            for cell, each in figures.cells
        ],
        total=figures.total,
        groups=_ranked(groups, figures) if question.group_by else [],
        unique_keys=len({each.api_key_id for each in used}),
        unique_consumers=len({each.consumer_id for each in used}),
        spikes=_spikes(period, buckets, figures, now),
    )
    if question.with_previous:
        report.previous.CopyFrom(figures_of(readings, len(groups.names), range(1)).total)
    return report


def _ranked(groups: Groups, figures: Figures) -> list[pb.GroupTotal]:
    totals = [
        pb.GroupTotal(group=name, figures=each)
        for name, each in zip(groups.names, figures.groups, strict=True)
    ]
    return sorted(totals, key=lambda total: (total.group == OTHER, -total.figures.requests, total.group))


def _spikes(period: Period, buckets: range, figures: Figures, now: datetime) -> list[pb.Spike]:
    requests = [0] * len(buckets)
    for cell, each in figures.cells:
        requests[cell.bucket - buckets.start] += each.requests
    ended = sum(end <= now for end in period.bounds[1:])
    return [
        pb.Spike(
            bucket_start=to_timestamp(period.bounds[spike.bucket]),
            requests=requests[spike.bucket],
            expected_requests=spike.expected,
        )
        for spike in find_spikes(requests, period.granularity, ended)
    ]
