"""Reads records of usage.events into columns, in one go, and checks them column by column. Pure.

Arrow makes columns of protobuf messages without making objects of them (ptars): that is most of what reading
an event used to cost. Texts that many events share are looked at once.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import ptars
import pyarrow as pa
import pyarrow.compute as pc
from ams.usage.v1.events_pb2 import DESCRIPTOR, UsageEvent, UsageEventBatch
from ams_common.subscriptions import Batch, Record, Rejection

from usage_svc import events as rules
from usage_svc.columns import EventColumns, Flags, Ints

_HANDLERS = ptars.HandlerPool([DESCRIPTOR])
_BATCHES = _HANDLERS.get_for_message(UsageEventBatch.DESCRIPTOR)
_SINGLES = _HANDLERS.get_for_message(UsageEvent.DESCRIPTOR)

_PARTIES = ("consumer_id", "merchant_id", "service_id", "api_key_id", "project_id", "key_prefix")
# By outcome and status code, for looking up.
_CHARGE_CLASSES = np.zeros((len(rules.OUTCOMES) + 1, 600), dtype=np.int64)
for _outcome in rules.OUTCOMES:
    for _status in range(100, 600):
        _CHARGE_CLASSES[_outcome, _status] = rules.charge_class_of(_outcome, _status)


def read_batch(
    batch: Batch, now: datetime, archived_through: date | None = None
) -> tuple[EventColumns, list[Rejection]]:
    """The batch's acceptable events in the order of their ids, each once, and what can't be counted: a whole
    record, or the events of it that can't."""
    records, rejections = list(batch.records), []
    try:
        events, of_record = _read(records)
    except ValueError:
        rejections = [Rejection(record, error) for record in records if (error := _unreadable(record))]
        bad = {rejection.record.offset for rejection in rejections}
        records = [record for record in records if record.offset not in bad]
        events, of_record = _read(records)
    offsets = np.array([record.offset for record in records], dtype=np.int64)
    columns, is_good = _columns(events, offsets[of_record], rules.time_bounds_us(now, archived_through))
    if not is_good.all():
        bad_records = np.unique(of_record[~is_good]).tolist()
        rejections += _rejected(records, bad_records, now, archived_through)
        columns = columns[is_good]
    return columns.without_repeats(), rejections


def events_of(value: bytes) -> list[UsageEvent]:
    """Those of a record; an event by itself, as gateways wrote it before, is one too. Raises DecodeError."""
    several = UsageEventBatch.FromString(value).events
    return list(several) if several else [UsageEvent.FromString(value)]


def _read(records: Sequence[Record]) -> tuple[pa.StructArray, Ints]:
    """The events of all records and, for each, the index of its record. Raises ValueError."""
    lists = _BATCHES.list_to_record_batch([record.value for record in records]).column("events")
    sizes = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    events, of_record = lists.flatten(), np.repeat(np.arange(len(records)), sizes)
    alone = np.flatnonzero(sizes == 0)
    if len(alone):
        singles = _SINGLES.list_to_record_batch([records[index].value for index in alone.tolist()])
        events = pa.concat_arrays([events, singles.to_struct_array()])
        of_record = np.concatenate([of_record, alone])
    return events, of_record.astype(np.int64)


def _unreadable(record: Record) -> str | None:
    try:
        _read([record])
    except ValueError as error:
        return str(error)
    return None


def _columns(
    events: pa.StructArray, offsets: Ints, time_bounds_us: tuple[int, int]
) -> tuple[EventColumns, Flags]:
    """All events in columns, and which are acceptable; what is in the others' columns means nothing."""
    names = [field.name for field in events.type]
    column = dict(zip(names, events.flatten(), strict=True))

    def ints(name: str) -> Ints:
        found: Ints = column[name].to_numpy(zero_copy_only=False).astype(np.int64)
        return found

    def flags(name: str) -> Flags:
        found: Flags = column[name].to_numpy(zero_copy_only=False).astype(np.bool_)
        return found

    ids, has_id = _sixteen_bytes(column["event_id"])
    series_code, parties = _distinct([column[name] for name in _PARTIES])
    of_parties = [rules.series_of(*each) for each in parties]
    price_code, prices = _distinct([column["price_version_id"]])
    price_ids = [rules.bytes_of_id(text) for (text,) in prices]
    journal_code, journals = _distinct([column["journal_id"]])
    journal = _objects([each for (each,) in journals])[journal_code]
    journal_size = _sizes(column["journal_id"])
    request_id, has_good_request_id = _request_ids(column["request_id"])
    # Whole microseconds, always rounded down: a duplicate must have the very same time. No time: 1970.
    time_ns = pc.fill_null(column["timestamp"].cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    time_us = time_ns // 1000
    sizes = [ints("request_payload_size_bytes"), ints("response_payload_size_bytes")]
    messages = [ints("request_messages"), ints("response_messages")]
    sequence, status_code, outcome = ints("sequence"), ints("status_code"), ints("outcome")
    response_time_ms = ints("response_time_ms")

    has_status = (status_code >= 100) & (status_code <= 599)
    has_outcome = np.isin(outcome, list(rules.OUTCOMES))
    earliest_us, latest_us = time_bounds_us
    is_good: Flags = has_id & has_status & has_outcome & has_good_request_id & (response_time_ms >= 0)
    is_good &= np.array([each is not None for each in of_parties], dtype=np.bool_)[series_code]
    is_good &= np.array([bool(each) for each in price_ids], dtype=np.bool_)[price_code]
    for size in sizes:
        is_good &= (size >= 0) & (size <= rules.MAX_SIZE_BYTES)
    for count in messages:
        is_good &= (count >= 0) & (count <= rules.MAX_MESSAGES)
    is_good &= ((journal_size == 0) & (sequence == 0)) | ((journal_size == 16) & (sequence >= 1))
    is_good &= (time_us >= earliest_us) & (time_us <= latest_us)
    series_ids = np.array([each.series_id if each else 0 for each in of_parties], dtype=np.int64)
    columns = EventColumns(
        id_high=ids[:, 0],
        id_low=ids[:, 1],
        occurred_at_us=time_us,
        series=_objects(of_parties)[series_code],
        series_id=series_ids[series_code],
        offset=offsets,
        price_version_id=_objects(price_ids)[price_code],
        request_bytes=sizes[0],
        response_bytes=sizes[1],
        request_messages=messages[0],
        response_messages=messages[1],
        response_time_ms=response_time_ms,
        status_code=status_code,
        outcome=outcome,
        charge_class=_CHARGE_CLASSES[np.where(has_outcome, outcome, 0), np.where(has_status, status_code, 0)],
        is_continuation=flags("is_continuation"),
        is_test=flags("is_test"),
        journal_id=journal,
        sequence=sequence,
        request_id=request_id,
    )
    return columns, is_good


def _distinct(columns: Sequence[pa.Array]) -> tuple[Ints, list[tuple[Any, ...]]]:
    """For each row the number of its combination of values, and the combinations by their numbers."""
    code = np.zeros(len(columns[0]), dtype=np.int64)
    encoded = [column.dictionary_encode() for column in columns]
    codes = [each.indices.to_numpy(zero_copy_only=False).astype(np.int64) for each in encoded]
    for each, of_column in zip(encoded, codes, strict=True):
        if len(each.dictionary) > 1:
            # Numbered anew after each column: the product of all could be too large.
            code = np.unique(code * len(each.dictionary) + of_column, return_inverse=True)[1]
    first = np.unique(code, return_index=True)[1]
    values = [each.dictionary.to_pylist() for each in encoded]
    combinations = zip(
        *([value[index] for index in of[first].tolist()] for value, of in zip(values, codes, strict=True)),
        strict=True,
    )
    return code, list(combinations)


def _request_ids(column: pa.StringArray) -> tuple[npt.NDArray[np.object_], Flags]:
    """The texts, "" for none, and which are acceptable."""
    texts = _objects([""] * len(column))
    is_good = np.ones(len(column), dtype=np.bool_)
    given = np.flatnonzero(_sizes(column))
    for index, text in zip(given.tolist(), column.take(pa.array(given)).to_pylist(), strict=True):
        texts[index] = text
        is_good[index] = rules.is_request_id(text)
    return texts, is_good


def _rejected(
    records: Sequence[Record], indexes: Sequence[int], now: datetime, archived_through: date | None
) -> Iterator[Rejection]:
    """For each of these records, what of it can't be counted: with those events alone."""
    for index in indexes:
        record = records[index]
        problems = [
            (event, rules.problem_of(event, now, archived_through)) for event in events_of(record.value)
        ]
        bad = [(event, problem) for event, problem in problems if problem]
        part = UsageEventBatch(events=[event for event, _ in bad]).SerializeToString()
        yield Rejection(Record(record.offset, record.key, part), bad[0][1] or "")


def _objects(values: Sequence[object]) -> npt.NDArray[np.object_]:
    column = np.empty(len(values), dtype=np.object_)
    column[:] = values
    return column


def _sizes(column: pa.Array) -> Ints:
    found: Ints = pc.binary_length(column).to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _sixteen_bytes(column: pa.BinaryArray) -> tuple[npt.NDArray[np.uint64], Flags]:
    """Each as two numbers, and which have 16 bytes."""
    is_good = _sizes(column) == 16
    if not is_good.all():
        column = pc.if_else(pa.array(is_good), column, pa.scalar(bytes(16), column.type))
    whole = pa.concat_arrays([column])  # without an offset into its buffers
    ends = np.frombuffer(whole.buffers()[1], dtype=np.int32, count=len(whole) + 1)
    content = np.frombuffer(whole.buffers()[2] or b"", dtype=np.uint8)[ends[0] : ends[-1]]
    return content.view(">u8").astype(np.uint64).reshape(-1, 2), is_good
