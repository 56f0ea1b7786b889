"""The SQL of questions, which queries.sql beside it says: rollups for figures, raw events for calls."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from ams_common.queries import QueryStore, Row, column, many, maybe_value, run

from usage_svc.events import Series
from usage_svc.questions.calls import Call
from usage_svc.questions.cover import Reading, Rollup, Stretch
from usage_svc.questions.figures import SlotSums
from usage_svc.questions.groups import SeriesRequests


def _in_order(row: Row) -> SlotSums:
    return SlotSums(*row.values())


def _partitions(reading: Reading) -> dict[str, datetime]:
    """The time whose partitions are read; only minutes have some."""
    if reading.rollup is not Rollup.MINUTE:
        return {}
    return {"range_start": reading.starts[0], "range_end": reading.ends[-1]}


class QuestionStore(QueryStore, package="usage_svc", file="questions/queries.sql"):
    """What is asked in one transaction, which begins with `plan_each_time`."""

    plan_each_time = run()
    sum_by_hashing = run()
    series_of_consumer = many(Series)
    series_of_project = many(Series)
    series_of_merchant = many(Series)
    series_of_platform = many(Series)
    series_by_ids = many(Series)
    sums_of_consumers = many(row=lambda row: (row["consumer_id"], row["series_id"]))
    oldest_minute = maybe_value(datetime)
    _used_series_of_months = column(int)
    _used_series_of_days = column(int)
    _used_series_of_hours = column(int)
    _used_series_of_minutes = column(int)
    _usage_by_series_of_months = many(SeriesRequests)
    _usage_by_series_of_days = many(SeriesRequests)
    _usage_by_series_of_hours = many(SeriesRequests)
    _usage_by_series_of_minutes = many(SeriesRequests)
    # Of these there are thousands, and by the order of their columns they are made in a fifth of the time.
    _usage_by_slot_of_months = many(row=_in_order)
    _usage_by_slot_of_days = many(row=_in_order)
    _usage_by_slot_of_hours = many(row=_in_order)
    _usage_by_slot_of_minutes = many(row=_in_order)
    calls_of_series = many(Call)
    calls_of_platform = many(Call)
    calls_by_request_id = many(Call)

    async def used_series(
        self, stretch: Stretch, series: Sequence[Series], status_classes: list[int]
    ) -> list[int]:
        """The ids of those that were used in a stretch of time."""
        used: dict[Rollup, Callable[..., Awaitable[list[int]]]] = {
            Rollup.MONTH: self._used_series_of_months,
            Rollup.DAY: self._used_series_of_days,
            Rollup.HOUR: self._used_series_of_hours,
            Rollup.MINUTE: self._used_series_of_minutes,
        }
        return await used[stretch.rollup](
            series_ids=[each.series_id for each in series],
            range_start=stretch.start,
            range_end=stretch.end,
            status_classes=status_classes,
        )

    async def usage_by_series(
        self, reading: Reading, series: Sequence[Series], status_classes: list[int]
    ) -> list[SeriesRequests]:
        """How often each series was used in the one bucket of the reading."""
        usage: dict[Rollup, Callable[..., Awaitable[list[SeriesRequests]]]] = {
            Rollup.MONTH: self._usage_by_series_of_months,
            Rollup.DAY: self._usage_by_series_of_days,
            Rollup.HOUR: self._usage_by_series_of_hours,
            Rollup.MINUTE: self._usage_by_series_of_minutes,
        }
        return await usage[reading.rollup](
            series_ids=[each.series_id for each in series],
            scan_starts=reading.starts,
            scan_ends=reading.ends,
            scan_signs=[sum(each.sign for each in additions) for additions in reading.additions],
            status_classes=status_classes,
            **_partitions(reading),
        )

    async def usage_by_slot(
        self,
        reading: Reading,
        group_of: Mapping[int, int],
        group_of_class: Sequence[int],
        status_classes: list[int],
    ) -> list[SlotSums]:
        """What there was in each slot and group, of the series in `group_of`."""
        usage: dict[Rollup, Callable[..., Awaitable[list[SlotSums]]]] = {
            Rollup.MONTH: self._usage_by_slot_of_months,
            Rollup.DAY: self._usage_by_slot_of_days,
            Rollup.HOUR: self._usage_by_slot_of_hours,
            Rollup.MINUTE: self._usage_by_slot_of_minutes,
        }
        starts, ends = reading.stretches()
        return await usage[reading.rollup](
            series_ids=list(group_of),
            group_nos=list(group_of.values()),
            group_of_class=group_of_class,
            slot_starts=reading.starts,
            scan_starts=starts,
            scan_ends=ends,
            status_classes=status_classes,
            **_partitions(reading),
        )
