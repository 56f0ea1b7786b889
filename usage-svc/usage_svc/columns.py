"""A batch of usage events as columns, checked column by column. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_EPOCH = date(1970, 1, 1)
US_PER_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class EventColumns:
    """Acceptable events, one after the other in each column."""

    # The two halves of the id, as unsigned numbers.
    id_high: npt.NDArray[np.uint64]
    id_low: npt.NDArray[np.uint64]
    occurred_at_us: Ints  # since 1970
    series: npt.NDArray[np.object_]  # of Series
    series_id: Ints
    offset: Ints
    price_version_id: npt.NDArray[np.object_]  # of bytes, 16
    request_bytes: Ints
    response_bytes: Ints
    request_messages: Ints
    response_messages: Ints
    response_time_ms: Ints
    status_code: Ints
    outcome: Ints
    charge_class: Ints
    is_continuation: Flags
    is_test: Flags
    journal_id: npt.NDArray[np.object_]  # of bytes, 16 or none
    sequence: Ints
    request_id: npt.NDArray[np.object_]  # of str, "" for none

    def __len__(self) -> int:
        return len(self.id_high)

    def __getitem__(self, which: Ints | Flags) -> Self:
        return type(self)(*(getattr(self, field.name)[which] for field in fields(self)))

    @property
    def day(self) -> Ints:
        """The UTC day of each, counted from 1970."""
        return self.occurred_at_us // US_PER_DAY

    def without_repeats(self) -> Self:
        """In the order of the ids, so that two processes never wait for each other's in a ring. Of repeats
        the first counts."""
        return self[_order_without_repeats(self.id_high, self.id_low, self.occurred_at_us)]


def joined(parts: Sequence[EventColumns]) -> EventColumns:
    """The events of all parts, of which there is one at least, as a batch of its own."""

    def of_all(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    order = _order_without_repeats(of_all("id_high"), of_all("id_low"), of_all("occurred_at_us"))
    # Column by column: of batches that are read far behind, all columns twice would be much memory.
    return EventColumns(*(of_all(field.name)[order] for field in fields(EventColumns)))


def _order_without_repeats(
    id_high: npt.NDArray[np.uint64], id_low: npt.NDArray[np.uint64], occurred_at_us: Ints
) -> Ints:
    order = np.lexsort((occurred_at_us, id_low, id_high))
    is_first = np.ones(len(order), dtype=np.bool_)
    is_first[1:] = False
    for column in (id_high, id_low, occurred_at_us):
        in_order = column[order]
        is_first[1:] |= in_order[1:] != in_order[:-1]
    return order[is_first]


def date_of(day: int) -> date:
    """The date of a day that is counted from 1970."""
    return _EPOCH + timedelta(days=day)
