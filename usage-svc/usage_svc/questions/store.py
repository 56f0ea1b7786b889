"""The SQL of questions, which queries.sql beside it says: rollups for figures, raw events for the log of
calls."""

from collections.abc import Sequence

from ams_common.queries import QueryStore, many, run

from usage_svc.events import Series
from usage_svc.questions.calls import Call
from usage_svc.questions.cover import Reading, Rollup
from usage_svc.questions.figures import SlotSums
from usage_svc.questions.usage import Groups, SeriesSums


class QuestionStore(QueryStore, package="usage_svc", file="questions/queries.sql"):
    """What is asked in one transaction, which begins with `plan_each_time`."""

    plan_each_time = run()
    series_of_consumer = many(Series)
    series_of_merchant = many(Series)
    series_of_platform = many(Series)
    series_by_ids = many(Series)
    _usage_by_series_from_days = many(SeriesSums)
    _usage_by_series_from_hours = many(SeriesSums)
    _usage_by_series_from_minutes = many(SeriesSums)
    _usage_by_slot_from_days = many(SlotSums)
    _usage_by_slot_from_hours = many(SlotSums)
    _usage_by_slot_from_minutes = many(SlotSums)
    calls_of_series = many(Call)
    calls_of_platform = many(Call)
    calls_by_request_id = many(Call)

    async def usage_by_series(
        self, reading: Reading, series: Sequence[Series], status_classes: list[int]
    ) -> list[SeriesSums]:
        """What there was of each series and status class."""
        starts, ends, signs = reading.signed_stretches()
        from_rollup = {
            Rollup.DAY: self._usage_by_series_from_days,
            Rollup.HOUR: self._usage_by_series_from_hours,
            Rollup.MINUTE: self._usage_by_series_from_minutes,
        }[reading.rollup]
        return await from_rollup(
            series_ids=[each.series_id for each in series],
            scan_starts=starts,
            scan_ends=ends,
            scan_signs=signs,
            range_start=starts[0],
            range_end=ends[-1],
            status_classes=status_classes,
        )

    async def usage_by_slot(
        self, reading: Reading, series: Sequence[Series], groups: Groups, status_classes: list[int]
    ) -> list[SlotSums]:
        """What there was in each slot and group."""
        starts, ends = reading.stretches()
        from_rollup = {
            Rollup.DAY: self._usage_by_slot_from_days,
            Rollup.HOUR: self._usage_by_slot_from_hours,
            Rollup.MINUTE: self._usage_by_slot_from_minutes,
        }[reading.rollup]
        return await from_rollup(
            series_ids=[each.series_id for each in series],
            group_nos=[groups.of_series[each.series_id] for each in series],
            group_of_class=groups.of_class,
            slot_starts=reading.starts,
            scan_starts=starts,
            scan_ends=ends,
            range_start=starts[0],
            range_end=ends[-1],
            status_classes=status_classes,
        )
