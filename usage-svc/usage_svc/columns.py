"""A batch of usage events as columns: read once, checked column by column. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt
from ams.usage.v1.events_pb2 import UsageEvent, UsageEventBatch
from ams_common.subscriptions import Batch, Record, Rejection
from google.protobuf.message import DecodeError

from usage_svc import events as rules

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
_C = TypeVar("_C", bound="EventColumns")

_EPOCH = date(1970, 1, 1)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
US_PER_DAY = 86_400_000_000
# By outcome and status code, for looking up.
_CHARGE_CLASSES = np.zeros((len(rules.OUTCOMES) + 1, 600), dtype=np.int64)
for _outcome in rules.OUTCOMES:
    for _status in range(100, 600):
        _CHARGE_CLASSES[_outcome, _status] = rules.charge_class_of(_outcome, _status)


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

    def __getitem__(self, which: npt.NDArray[np.int64] | Flags) -> Self:
        return type(self)(*(getattr(self, field.name)[which] for field in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The events of all parts, in the order of their ids; of repeats the first counts."""
        if not parts:
            return cls.joined([_columns([], np.empty(0, dtype=np.int64), _BEGINNING)[0]])
        columns = (np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls))
        return _without_repeats(cls(*columns))

    @property
    def day(self) -> Ints:
        """The UTC day of each, counted from 1970."""
        return self.occurred_at_us // US_PER_DAY


def date_of(day: int) -> date:
    """The date of a day that is counted from 1970."""
    return _EPOCH + timedelta(days=day)


def single_event(value: bytes) -> UsageEvent:
    """The event of a record that holds one by itself, as gateways wrote it before."""
    return UsageEvent.FromString(value)


def read_batch(batch: Batch, now: datetime) -> tuple[EventColumns, list[Rejection]]:
    """The batch's acceptable events in order, each once, and what can't be counted: a whole record, or the
    events of it that can't."""
    found: list[UsageEvent] = []
    sizes: list[int] = []
    records: list[Record] = []
    rejections: list[Rejection] = []
    for record in batch.records:
        try:
            several = UsageEventBatch.FromString(record.value).events
            of_record = list(several) if several else [single_event(record.value)]
        except DecodeError as error:
            rejections.append(Rejection(record, repr(error)))
            continue
        found += of_record
        sizes.append(len(of_record))
        records.append(record)
    of_event = np.repeat(np.arange(len(records)), sizes)
    columns, is_good = _columns(found, np.array([r.offset for r in records], dtype=np.int64)[of_event], now)
    bad = np.flatnonzero(~is_good)
    if len(bad):
        rejections += _rejected(found, records, of_event, bad, now)
        columns = columns[is_good]
    return _without_repeats(columns), rejections


def _columns(found: Sequence[UsageEvent], offsets: Ints, now: datetime) -> tuple[EventColumns, Flags]:
    """All events in columns, and which are acceptable; what is in the others' columns means nothing."""
    ids, has_id = _sixteen_bytes([event.event_id for event in found])
    # One object for each journal, however many events name it.
    same: dict[bytes, bytes] = {}
    journal_ids = [same.setdefault(journal, journal) for journal in (event.journal_id for event in found)]
    journal_sizes = _ints(map(len, journal_ids))
    sequence = _ints([event.sequence for event in found])
    times = [event.timestamp for event in found]
    seconds, nanos = _ints([at.seconds for at in times]), _ints([at.nanos for at in times])
    series = [
        rules.series_of(
            event.consumer_id,
            event.merchant_id,
            event.service_id,
            event.api_key_id,
            event.project_id,
            event.key_prefix,
        )
        for event in found
    ]
    prices = [rules.bytes_of_id(event.price_version_id) for event in found]
    request_ids = [event.request_id for event in found]
    sizes = [
        _ints([event.request_payload_size_bytes for event in found]),
        _ints([event.response_payload_size_bytes for event in found]),
        _ints([event.request_messages for event in found]),
        _ints([event.response_messages for event in found]),
    ]
    response_time_ms = _ints([event.response_time_ms for event in found])
    status_code = _ints([event.status_code for event in found])
    outcome = _ints([event.outcome for event in found])

    has_status = (status_code >= 100) & (status_code <= 599)
    has_outcome = np.isin(outcome, list(rules.OUTCOMES))
    earliest, latest = rules.time_bounds_s(now)
    is_good: Flags = has_id & has_status & has_outcome & (response_time_ms >= 0)
    is_good &= np.fromiter((each is not None for each in series), np.bool_, len(found))
    is_good &= np.fromiter(map(bool, prices), np.bool_, len(found))
    is_good &= np.fromiter(map(_is_request_id, request_ids), np.bool_, len(found))
    for size, most in zip(sizes, [rules.MAX_SIZE_BYTES] * 2 + [rules.MAX_MESSAGES] * 2, strict=True):
        is_good &= (size >= 0) & (size <= most)
    is_good &= ((journal_sizes == 0) & (sequence == 0)) | ((journal_sizes == 16) & (sequence >= 1))
    is_good &= (seconds >= earliest) & (seconds <= latest) & (nanos >= 0) & (nanos < 10**9)
    columns = EventColumns(
        id_high=ids[:, 0],
        id_low=ids[:, 1],
        # Always rounded down: a duplicate must have the very same time, or it would be counted again.
        occurred_at_us=np.where(is_good, seconds, 0) * 1_000_000 + nanos // 1000,
        series=_objects(series),
        series_id=_ints([each.series_id if each is not None else 0 for each in series]),
        offset=offsets,
        price_version_id=_objects(prices),
        request_bytes=sizes[0],
        response_bytes=sizes[1],
        request_messages=sizes[2],
        response_messages=sizes[3],
        response_time_ms=response_time_ms,
        status_code=status_code,
        outcome=outcome,
        charge_class=_CHARGE_CLASSES[np.where(has_outcome, outcome, 0), np.where(has_status, status_code, 0)],
        is_continuation=np.array([event.is_continuation for event in found], dtype=np.bool_),
        is_test=np.array([event.is_test for event in found], dtype=np.bool_),
        journal_id=_objects(journal_ids),
        sequence=sequence,
        request_id=_objects(request_ids),
    )
    return columns, is_good


def _is_request_id(text: str) -> bool:
    # The three together are what the rule's pattern says, in a third of its time.
    return not text or (
        len(text) <= rules.MAX_REQUEST_ID and text.isascii() and text.isprintable() and " " not in text
    )


def _rejected(
    found: Sequence[UsageEvent], records: Sequence[Record], of_event: Ints, bad: Ints, now: datetime
) -> Iterator[Rejection]:
    """One rejection for each record that holds bad events, with those alone."""
    for index in np.unique(of_event[bad]).tolist():
        record = records[index]
        worst = [found[each] for each in bad[of_event[bad] == index].tolist()]
        part = UsageEventBatch(events=worst).SerializeToString()
        problem = rules.problem_of(worst[0], now) or "can't be counted"
        yield Rejection(Record(record.offset, record.key, part), problem)


def _without_repeats(columns: _C) -> _C:
    """In the order of the ids, so that two processes never wait for each other's in a ring. Of repeats the
    first counts."""
    order = np.lexsort((columns.occurred_at_us, columns.id_low, columns.id_high))
    sorted_columns = columns[order]
    if len(columns) < 2:
        return sorted_columns
    is_first = np.ones(len(columns), dtype=np.bool_)
    is_first[1:] = (
        (np.diff(sorted_columns.id_high) != 0)
        | (np.diff(sorted_columns.id_low) != 0)
        | (np.diff(sorted_columns.occurred_at_us) != 0)
    )
    return sorted_columns if is_first.all() else sorted_columns[is_first]


def _ints(values: Iterable[int]) -> Ints:
    return np.fromiter(values, np.int64)


def _objects(values: Sequence[object]) -> npt.NDArray[np.object_]:
    column = np.empty(len(values), dtype=np.object_)
    column[:] = values
    return column


def _sixteen_bytes(values: list[bytes]) -> tuple[npt.NDArray[np.uint64], Flags]:
    """Each as two numbers, and which have 16 bytes."""
    is_good = _ints(map(len, values)) == 16
    if not is_good.all():
        values = [value if good else bytes(16) for value, good in zip(values, is_good, strict=True)]
    numbers = np.frombuffer(b"".join(values), dtype=">u8").astype(np.uint64)
    return numbers.reshape(-1, 2), is_good
