"""What a batch of events adds to the rollups, as columns: each from the next finer one. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, Self

import numpy as np
from ams.usage.v1.events_pb2 import ANSWERED, BROKEN_OFF, UNCHARGED

from usage_svc import latencies
from usage_svc.columns import US_PER_DAY, EventColumns, Ints

US_PER_MINUTE: Final = 60_000_000
US_PER_HOUR: Final = 3_600_000_000

# The columns of `Rollups.sums`.
SUMS: Final = (
    "requests",
    "billable_requests",
    "errors",
    "request_bytes",
    "response_bytes",
    "response_time_ms_sum",
    "request_messages",
    "response_messages",
)


class Level(IntEnum):
    """As staged_rollups numbers them; the finest first."""

    MINUTE = 0
    HOUR = 1
    DAY = 2
    MONTH = 3


class Cells(NamedTuple):
    """Histograms of response times: how many calls fell into which bucket of which row, in this order."""

    row: Ints
    bucket: Ints
    calls: Ints


@dataclass(frozen=True, slots=True)
class Rollups:
    """Rows by series, bucket of time and status class."""

    series_id: Ints
    start_us: Ints  # since 1970
    status_class: Ints
    sums: Ints  # a row of SUMS for each
    # Of response times, in ms; means nothing in rows without a request.
    least_ms: Ints
    greatest_ms: Ints
    cells: Cells

    def __len__(self) -> int:
        return len(self.series_id)

    @classmethod
    def by_minute(cls, events: EventColumns) -> Self:
        """What goes on of a call was counted with its first event, and timed."""
        is_call = ~events.is_continuation
        is_error = (events.status_code >= 400) | ~np.isin(events.outcome, (ANSWERED, BROKEN_OFF))
        is_billable = ~events.is_test & (events.charge_class != UNCHARGED)
        time_ms = events.response_time_ms
        calls = np.flatnonzero(is_call)
        return cls(
            events.series_id,
            events.occurred_at_us,
            events.status_code // 100,
            np.stack(
                [
                    is_call,
                    is_call & is_billable,
                    is_call & is_error,
                    events.request_bytes,
                    events.response_bytes,
                    np.where(is_call, time_ms, 0),
                    events.request_messages,
                    events.response_messages,
                ],
                axis=1,
            ).astype(np.int64),
            np.where(is_call, time_ms, latencies.MAX_MS),
            np.where(is_call, time_ms, 0),
            Cells(calls, latencies.bucket_of(time_ms[calls]), np.ones(len(calls), dtype=np.int64)),
        ).by(US_PER_MINUTE)

    def by(self, bucket_us: int) -> Self:
        """The same usage in buckets of so many microseconds."""
        return self._in_buckets(self.start_us - self.start_us % bucket_us)

    def by_month(self) -> Self:
        """The same usage in UTC months."""
        months = (self.start_us // US_PER_DAY).astype("datetime64[D]").astype("datetime64[M]")
        return self._in_buckets(months.astype("datetime64[D]").astype(np.int64) * US_PER_DAY)

    def with_sums(self, sum_of: Mapping[int, int]) -> Self:
        """And the sums of series, each of them as one more series."""
        if not sum_of:
            return self
        summed, sums = np.array(sorted(sum_of.items()), dtype=np.int64).T
        at = np.minimum(np.searchsorted(summed, self.series_id), len(summed) - 1)
        rows = np.flatnonzero(summed[at] == self.series_id)
        copy_of = np.full(len(self), -1)
        copy_of[rows] = len(self) + np.arange(len(rows))
        is_copied = copy_of[self.cells.row] >= 0
        copied = Cells(
            copy_of[self.cells.row[is_copied]], self.cells.bucket[is_copied], self.cells.calls[is_copied]
        )

        def doubled(column: Ints) -> Ints:
            return np.concatenate([column, column[rows]])

        both = type(self)(
            series_id=np.concatenate([self.series_id, sums[at[rows]]]),
            start_us=doubled(self.start_us),
            status_class=doubled(self.status_class),
            sums=doubled(self.sums),
            least_ms=doubled(self.least_ms),
            greatest_ms=doubled(self.greatest_ms),
            cells=Cells(*(np.concatenate(pair) for pair in zip(self.cells, copied, strict=True))),
        )
        return both._in_buckets(both.start_us)

    def _in_buckets(self, start_us: Ints) -> Self:
        order = np.lexsort((self.status_class, start_us, self.series_id))
        series_id, start_us, status_class = self.series_id[order], start_us[order], self.status_class[order]
        is_first = np.zeros(len(order), dtype=np.bool_)
        is_first[:1] = True
        for key in (series_id, start_us, status_class):
            is_first[1:] |= key[1:] != key[:-1]
        starts = np.flatnonzero(is_first)
        row_of = np.empty(len(order), dtype=np.int64)
        row_of[order] = np.cumsum(is_first) - 1
        return type(self)(
            series_id=series_id[starts],
            start_us=start_us[starts],
            status_class=status_class[starts],
            sums=np.add.reduceat(self.sums[order], starts),
            least_ms=np.minimum.reduceat(self.least_ms[order], starts),
            greatest_ms=np.maximum.reduceat(self.greatest_ms[order], starts),
            cells=_merged(row_of[self.cells.row], self.cells),
        )


def _merged(row: Ints, cells: Cells) -> Cells:
    """The cells as those of the rows `row`."""
    if not len(row):
        return cells
    cell = row * latencies.BUCKETS + cells.bucket
    order = np.argsort(cell, kind="stable")
    in_order = cell[order]
    starts = np.flatnonzero(np.diff(in_order, prepend=-1))
    return Cells(*np.divmod(in_order[starts], latencies.BUCKETS), np.add.reduceat(cells.calls[order], starts))


def all_levels(events: EventColumns, sum_of: Mapping[int, int]) -> dict[Level, Rollups]:
    """What events add to each level; there is one event at least. `sum_of` has the series of the sum that
    some series are added to from hours on."""
    minutes = Rollups.by_minute(events)
    hours = minutes.by(US_PER_HOUR).with_sums(sum_of)
    days = hours.by(US_PER_DAY)
    return {Level.MINUTE: minutes, Level.HOUR: hours, Level.DAY: days, Level.MONTH: days.by_month()}
