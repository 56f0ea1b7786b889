"""What a batch of events adds to day totals and journals' counts: a row a group. Pure."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from usage_svc.columns import US_PER_DAY, EventColumns, Ints, date_of

# Columns by name: lists of equal length, for unnest().
Rows = dict[str, list[Any]]

JOURNAL_BLOCK_BITS: Final = 20


class _Groups:
    """Rows of equal keys, in the order of the keys."""

    def __init__(self, *keys: Ints) -> None:
        self._order = np.lexsort(keys[::-1])
        in_order = [key[self._order] for key in keys]
        is_first = np.zeros(len(self._order), dtype=np.bool_)
        is_first[:1] = True
        for key in in_order:
            is_first[1:] |= key[1:] != key[:-1]
        self._starts = np.flatnonzero(is_first)
        self.keys = [key[self._starts].tolist() for key in in_order]
        self.size = len(self._starts)

    def sum(self, column: npt.NDArray[Any]) -> list[int]:
        totals: list[int] = np.add.reduceat(column[self._order].astype(np.int64), self._starts).tolist()
        return totals

    def greatest(self, column: Ints) -> list[int]:
        greatest: list[int] = np.maximum.reduceat(column[self._order], self._starts).tolist()
        return greatest


def day_totals(events: EventColumns) -> Rows:
    """By series, UTC day, charge class and whether it was a test, in this order."""
    day = events.occurred_at_us // US_PER_DAY
    groups = _Groups(events.series_id, day, events.charge_class, events.is_test.astype(np.int64))
    series_ids, days, classes, tests = groups.keys
    return {
        "series_id": series_ids,
        "day": [date_of(each) for each in days],
        "charge_class": classes,
        "is_test": [bool(each) for each in tests],
        "events": groups.sum(np.ones(len(events), dtype=np.int64)),
        "requests": groups.sum(~events.is_continuation),
        "request_bytes": groups.sum(events.request_bytes),
        "response_bytes": groups.sum(events.response_bytes),
        "last_offset": groups.greatest(events.offset),
    }


def journal_counts(events: EventColumns) -> Rows:
    """By journal and block of its numbers, in this order; events that are not numbered are in none."""
    numbered = events[events.sequence > 0]
    if not len(numbered):
        return {}
    # Codes in the order of the ids.
    codes = {journal: code for code, journal in enumerate(sorted(set(numbered.journal_id.tolist())))}
    names = [UUID(bytes=journal) for journal in codes]
    code = np.fromiter((codes[journal] for journal in numbered.journal_id), np.int64)
    groups = _Groups(code, (numbered.sequence - 1) >> JOURNAL_BLOCK_BITS)
    return {
        "journal_id": [names[each] for each in groups.keys[0]],
        "block": groups.keys[1],
        "highest_sequence": groups.greatest(numbered.sequence),
        "events": groups.sum(np.ones(len(numbered), dtype=np.int64)),
    }


def distinct_series(events: EventColumns) -> Sequence[Any]:
    """The series of the events, in the order of their ids."""
    found: dict[int, Any] = {}
    for series in events.series.tolist():
        found.setdefault(series.series_id, series)
    return [found[series_id] for series_id in sorted(found)]
