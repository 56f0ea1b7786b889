"""A batch of usage events as columns, checked column by column. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Self

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
        order = np.lexsort((self.occurred_at_us, self.id_low, self.id_high))
        in_order = self[order]
        is_first = np.ones(len(self), dtype=np.bool_)
        is_first[1:] = (
            (in_order.id_high[1:] != in_order.id_high[:-1])
            | (in_order.id_low[1:] != in_order.id_low[:-1])
            | (in_order.occurred_at_us[1:] != in_order.occurred_at_us[:-1])
        )
        return in_order if is_first.all() else in_order[is_first]


def joined(parts: Sequence[EventColumns]) -> EventColumns:
    """The events of all parts, of which there is one at least, as a batch of its own."""
    columns = (
        np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(EventColumns)
    )
    return EventColumns(*columns).without_repeats()


def date_of(day: int) -> date:
    """The date of a day that is counted from 1970."""
    return _EPOCH + timedelta(days=day)
