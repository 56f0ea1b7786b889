"""The only module that runs SQL: what each query is, queries.sql says."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import numpy as np
import numpy.typing as npt
from ams_common.queries import QueryStore, column, many, maybe_value, run, value

from usage_svc import binary_copy, rollup_copy, sums
from usage_svc.columns import EventColumns, date_of
from usage_svc.events import Series
from usage_svc.journals import JournalGap
from usage_svc.rollups import Level, Rollups, all_levels
from usage_svc.sums import Rows
from usage_svc.totals import DayTotal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Store(QueryStore, package="usage_svc"):
    """The schema `usage`, as intake writes it. What reads it for questions, questions.store says."""

    ensure_partitions = value(int)
    archived_through = maybe_value(date)
    wait_briefly = run()
    _find_source = maybe_value(int)
    _add_source = run()
    _unknown_series = column(int)
    _add_series = run()
    _begin_adding = value(bool)
    _make_room_for_staging = run()
    _make_staging = run()
    _add_to_rollups = run()
    _may_begin_sums = column(UUID)
    _wait_for_others_who_count = run()
    _begin_sums = value(int)
    _sums_of_series = many(row=lambda row: (row["series_id"], row["sum_id"]))
    # By the order of their columns they are made in a third of the time.
    _add_to_day_totals = many(row=lambda row: list(row.values()))
    _list_sources = many(dict[str, Any])
    _add_to_journals = run()
    _keep_greatest_forwarded = run()
    mark_late = run()
    journal_gaps = many(JournalGap)

    async def add_events(self, events: EventColumns, source: str) -> list[DayTotal]:
        """Inserts and sums up those of `events` that are not there yet; returns what their groups come to by
        now. Every process locks rows in the order of these steps, and within each by id."""
        source_id = await self._source_id(source)
        new = await self._insert_new(events, source_id)
        if not len(new):
            return []
        series = sums.distinct_series(new)
        await self._name_series(series)
        sum_of = dict(await self._sums_of_series(series_ids=[each.series_id for each in series]))
        await self.add_rollups(all_levels(new, sum_of))
        totals = await self._add_to_day_totals(source_id=source_id, **sums.day_totals(new))
        last_offsets: list[dict[str, int]] = [json.loads(row.pop()) for row in totals]
        sources = {source_id: source}
        # Afterwards: by now there may be one that was new to another process.
        if any(each.keys() != {str(source_id)} for each in last_offsets):
            sources = await self.list_sources()
        if counts := sums.journal_counts(new):
            await self._add_to_journals(**counts)
        return [
            DayTotal._make([*row, {sources[int(number)]: offset for number, offset in offsets.items()}])
            for row, offsets in zip(totals, last_offsets, strict=True)
        ]

    async def list_sources(self) -> dict[int, str]:
        """The names of all sources, by their numbers."""
        return {row["source_id"]: row["name"] for row in await self._list_sources()}

    async def add_rollups(self, levels: Mapping[Level, Rollups]) -> None:
        """Adds to the rollups, each level's rows once."""
        if not await self._begin_adding():
            await self._make_room_for_staging()
            await self._make_staging()
        await self._copy("staged_rollups", rollup_copy.COLUMNS, rollup_copy.rows(levels))
        await self._add_to_rollups()

    async def keep_greatest_forwarded(self, totals: Rows) -> None:
        """Of two totals of a journal, day, merchant and consumer the greater holds. Each may come once."""
        await self._keep_greatest_forwarded(**totals)

    async def _insert_new(self, events: EventColumns, source_id: int) -> EventColumns:
        """Inserts those that are not there yet, and returns them. Events hardly ever come twice, so they are
        only looked for where their day's partition refuses one."""
        is_new = np.ones(len(events), dtype=np.bool_)
        for day in np.unique(events.day).tolist():
            of_day = np.flatnonzero(events.day == day)
            try:
                async with self.connection.transaction():
                    await self._insert(day, events[of_day], source_id)
            except asyncpg.UniqueViolationError:
                is_new[of_day] = ~await self._is_known(day, events[of_day])
                await self._insert(day, events[of_day[is_new[of_day]]], source_id)
        return events if is_new.all() else events[is_new]

    async def _insert(self, day: int, events: EventColumns, source_id: int) -> None:
        rows = binary_copy.rows(events, source_id)
        await self._copy(_partition(day), binary_copy.COLUMNS, rows)

    async def _is_known(self, day: int, events: EventColumns) -> npt.NDArray[np.bool_]:
        """Which events of a day are there already. The partition is asked by its name: a prepared statement
        on the whole table would lock all of its partitions, and wait while one is detached."""
        sql = f"SELECT event_id, occurred_at FROM {_partition(day)} WHERE event_id = ANY($1::uuid[])"  # noqa: S608
        rows = await self.connection.fetch(sql, binary_copy.hex_ids(events))
        found = [(row[0].bytes, (row[1] - _EPOCH) // timedelta(microseconds=1)) for row in rows]
        return binary_copy.is_among(events, found)

    async def _source_id(self, name: str) -> int:
        """The source's number; it is given one when it is new."""
        while (source_id := await self._find_source(name=name)) is None:
            await self._add_source(name=name)
        return source_id

    async def _name_series(self, series: Sequence[Series]) -> None:
        unknown = set(await self._unknown_series(series_ids=[each.series_id for each in series]))
        if unknown:
            added = [each for each in series if each.series_id in unknown]
            columns = map(list, zip(*added, strict=True))
            await self._add_series(**dict(zip(Series._fields, columns, strict=True)))
            consumer_ids = list({each.consumer_id for each in added})
            if grown := await self._may_begin_sums(consumer_ids=consumer_ids):
                await self._wait_for_others_who_count()
                await self._begin_sums(consumer_ids=grown)

    async def _copy(self, table: str, columns: Sequence[str], rows: Iterable[bytes]) -> None:
        await self.connection.copy_to_table(table, source=_in_pieces(rows), columns=columns, format="binary")


def _partition(day: int) -> str:
    return partition_name(date_of(day))


def partition_name(day: date) -> str:
    """The partition that holds the raw events of a UTC day."""
    return f"usage_events_{day:%Y%m%d}"


async def _in_pieces(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
