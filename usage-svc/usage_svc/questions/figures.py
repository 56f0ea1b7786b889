"""The figures of an answer, from what was read of the rollups. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from ams.usage.v1 import usage_service_pb2 as pb

from usage_svc.questions.cover import Reading
from usage_svc.questions.groups import Counted
from usage_svc.questions.histograms import Counts, quantiles_ms, read_counts, widened

_QUANTILES: Final = (0.5, 0.95, 0.99)
# Histograms that are looked at together: enough for numpy, and little memory.
_BLOCK: Final = 1000


class SlotSums(NamedTuple):
    """What a group's rollups in a slot add up to."""

    slot: int
    group_no: int
    requests: int
    billable_requests: int
    errors: int
    request_bytes: int
    response_bytes: int
    response_time_ms_sum: int
    request_messages: int
    response_messages: int
    latencies: bytes  # as numeric_send() gives them


# What lies between the slot's names and the histogram.
_COUNTS: Final = len(SlotSums._fields) - 3

Readings: TypeAlias = Sequence[tuple[Reading, Sequence[SlotSums]]]


class Cell(NamedTuple):
    """A group in a bucket."""

    bucket: int
    group_no: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Of each bucket and group with any usage, in this order; of each group; and of all."""

    cells: list[tuple[Cell, pb.UsageFigures]]
    groups: list[pb.UsageFigures]
    total: pb.UsageFigures


@dataclass(frozen=True, slots=True)
class _Entries:
    """What of which row counts in which cell, or against it; in the order of the cells."""

    row: Counts
    bucket: Counts
    group_no: Counts
    sign: Counts

    @classmethod
    def of(cls, readings: Readings, counted: Sequence[Sequence[Counted]]) -> "_Entries":
        found = [entry for _, *entry in _counting(readings, counted)]
        columns = np.array(found, dtype=np.int64).reshape(-1, 4).T
        return cls(*columns[:, np.lexsort((columns[2], columns[1]))])

    def cell_starts(self) -> Counts:
        """Where another cell begins."""
        is_first = np.ones(len(self.row), dtype=np.bool_)
        is_first[1:] = (np.diff(self.bucket) != 0) | (np.diff(self.group_no) != 0)
        return np.flatnonzero(is_first)


def _counting(
    readings: Readings, counted: Sequence[Sequence[Counted]]
) -> Iterator[tuple[SlotSums, int, int, int, int]]:
    """Each row, with its number, once for each bucket and group in which it counts, or against which."""
    rows = ((reading, sums) for reading, of_reading in readings for sums in of_reading)
    for number, (reading, sums) in enumerate(rows):
        for bucket, sign in reading.additions[sums.slot - 1]:
            for group, group_sign in counted[sums.group_no]:
                yield sums, number, bucket, group, sign * group_sign


def requests_by_group(
    readings: Readings, counted: Sequence[Sequence[Counted]], buckets: range
) -> dict[int, int]:
    """How many requests each group has in `buckets` that was used in them."""
    found: Counter[int] = Counter()
    size_bytes: Counter[int] = Counter()
    for sums, _, bucket, group, sign in _counting(readings, counted):
        if bucket in buckets:
            found[group] += sign * sums.requests
            size_bytes[group] += sign * (sums.request_bytes + sums.response_bytes)
    # A call that only goes on has bytes and is no request.
    return {group: count for group, count in found.items() if count or size_bytes[group]}


def figures_of(
    readings: Readings, counted: Sequence[Sequence[Counted]], groups: int, buckets: range
) -> Figures:
    """The figures of `buckets`, whatever else was read. Groups are numbered from 0 on; `counted` says in
    which of them a row counts, by the number that it names."""
    rows = [sums for _, of_reading in readings for sums in of_reading]
    entries = _Entries.of(readings, counted)
    starts = entries.cell_starts()
    is_asked = (entries.bucket[starts] >= buckets.start) & (entries.bucket[starts] < buckets.stop)
    summed = np.array([sums[2:-1] for sums in rows], dtype=np.int64).reshape(-1, _COUNTS)
    cells, of_groups = _Tally(), _Tally(groups)
    for first, last in _blocks(starts, is_asked, len(entries.row)):
        within = slice(first, last)
        at = starts[(starts >= first) & (starts < last)]
        counts = summed[entries.row[within]]
        histograms = read_counts([rows[row].latencies for row in entries.row[within].tolist()])
        if len(at) < last - first or (entries.sign[within] < 0).any():
            sign = entries.sign[within, np.newaxis]
            counts = np.add.reduceat(counts * sign, at - first)
            histograms = np.add.reduceat(histograms * sign, at - first)
        of_groups.add(entries.group_no[at], counts, histograms)
        cells.extend(counts, histograms)
    at = starts[is_asked]
    named = map(Cell, entries.bucket[at].tolist(), entries.group_no[at].tolist())
    # A cell of which all has gone into the next bucket is none.
    used = [(cell, each) for cell, each in zip(named, cells.figures, strict=True) if each.ByteSize()]
    return Figures(used, of_groups.of_all(), of_groups.of_their_sum())


def _blocks(starts: Counts, is_asked: npt.NDArray[np.bool_], end: int) -> Iterator[tuple[int, int]]:
    """Entries of asked cells, whole cells and about as many as make a block. Those cells follow each
    other."""
    asked = np.flatnonzero(is_asked)
    if not len(asked):
        return
    ends = np.append(starts[1:], end)
    first = int(starts[asked[0]])
    for cell in asked.tolist():
        last = int(ends[cell])
        if last - first >= _BLOCK or cell == asked[-1]:
            yield first, last
            first = last


class _Tally:
    """Sums of counts and of histograms, a row each."""

    def __init__(self, size: int = 0) -> None:
        self._counts = np.zeros((size, _COUNTS), dtype=np.int64)
        self._histograms = np.zeros((size, 1), dtype=np.int64)
        self.figures: list[pb.UsageFigures] = []

    def add(self, to: Counts, counts: Counts, histograms: Counts) -> None:
        """Adds to the rows whose numbers `to` says."""
        self._histograms = widened(self._histograms, histograms.shape[1])
        order = np.argsort(to, kind="stable")
        rows, first = np.unique(to[order], return_index=True)
        self._counts[rows] += np.add.reduceat(counts[order], first)
        self._histograms[rows, : histograms.shape[1]] += np.add.reduceat(histograms[order], first)

    def extend(self, counts: Counts, histograms: Counts) -> None:
        """Makes figures of further rows at once, and keeps nothing else of them."""
        self.figures += _messages(counts, histograms)

    def of_all(self) -> list[pb.UsageFigures]:
        """The figures of each row."""
        return _messages(self._counts, self._histograms)

    def of_their_sum(self) -> pb.UsageFigures:
        """The figures of all rows together."""
        return _messages(
            self._counts.sum(axis=0, keepdims=True), self._histograms.sum(axis=0, keepdims=True)
        )[0]


def _messages(counts: Counts, histograms: Counts) -> list[pb.UsageFigures]:
    return [
        pb.UsageFigures(
            requests=requests,
            billable_requests=billable,
            errors=errors,
            request_bytes=request_bytes,
            response_bytes=response_bytes,
            # Of the sums: the mean of the buckets' means would weigh a quiet minute like a busy one.
            mean_response_time_ms=time_ms / requests if requests else 0.0,
            p50_response_time_ms=p50,
            p95_response_time_ms=p95,
            p99_response_time_ms=p99,
            request_messages=sent,
            response_messages=received,
        )
        for (requests, billable, errors, request_bytes, response_bytes, time_ms, sent, received), (
            p50,
            p95,
            p99,
        ) in zip(counts.tolist(), quantiles_ms(histograms, _QUANTILES), strict=True)
    ]
