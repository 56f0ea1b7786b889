"""A question about usage, from the request to the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.clock import to_timestamp

from usage_svc.events import Series
from usage_svc.questions.cover import Reading, Stretch, cover, within
from usage_svc.questions.figures import Figures, Readings, figures_of, requests_by_group
from usage_svc.questions.groups import OTHER, Counted, Groups, Shown
from usage_svc.questions.ranges import Period, moment, period_of, too_large
from usage_svc.questions.scopes import Asker, Scope, check_group_by, scope_of, status_classes_of
from usage_svc.questions.spikes import find_spikes

# What one answer may hold (well under the 4 MiB of a message).
MAX_POINTS = 20_000
_LONG = timedelta(days=62)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked."""

    scope: Scope
    period: Period
    group_by: pb.GroupBy.ValueType
    status_classes: list[int]
    top: int
    with_previous: bool

    def stretches(self) -> list[Stretch]:
        """Where to look for what was used in the period."""
        return within(self.period.start, self.period.end, self._coarsest())

    def whole(self) -> list[Reading]:
        """What to read for sums over the whole period, in one bucket."""
        # Months only where it has several: the ends of a shorter one may lie nearest to the same month's.
        is_long = self.period.end - self.period.start >= _LONG
        coarsest = self._coarsest() if is_long else self.period.granularity
        return cover([self.period.start, self.period.end], coarsest)

    def _coarsest(self) -> pb.Granularity.ValueType:
        """By which granularity what isn't shown by bucket is read."""
        return pb.MONTH if self.period.granularity == pb.DAY else self.period.granularity

    def is_narrowed(self, groups: Groups) -> bool:
        """Whether to find out first which of them are shown: they may be too many to be read, and to read
        less is sooner done."""
        if self.group_by == pb.STATUS_CLASS:
            return False
        is_cut = 0 < self.top < len(groups.names)
        return is_cut or len(groups.names) * len(self.buckets()) > MAX_POINTS

    def is_by_series(self) -> bool:
        """Whether series of one consumer may be in several groups."""
        return self.group_by in (pb.SERVICE, pb.KEY, pb.PROJECT, pb.MERCHANT)

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


def report_of(
    question: Question, groups: Groups, used: Sequence[Series], readings: Readings, now: datetime
) -> pb.UsageReport:
    """The answer, from what was read of `groups`. Raises InvalidArgumentError range_too_large."""
    period, buckets = question.period, question.buckets()
    counted = groups.counted()
    shown = groups.shown(requests_by_group(readings, counted, buckets), question.top)
    counted_shown = [[Counted(shown.new[each.group_no], each.sign) for each in of_one] for of_one in counted]
    figures = figures_of(readings, counted_shown, len(shown.names), buckets)
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
                group=shown.names[cell.group_no],
                figures=each,
            )
            for cell, each in figures.cells
        ],
        total=figures.total,
        groups=_ranked(shown, figures) if question.group_by else [],
        unique_keys=len({each.api_key_id for each in used}),
        unique_consumers=len({each.consumer_id for each in used}),
        spikes=_spikes(period, buckets, figures, now),
    )
    if question.with_previous:
        of_all = [[Counted(0, each.sign) for each in of_one] for of_one in counted]
        report.previous.CopyFrom(figures_of(readings, of_all, 1, range(1)).total)
    return report


def _ranked(groups: Shown, figures: Figures) -> list[pb.GroupTotal]:
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
