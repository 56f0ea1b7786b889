"""Raw events of a day as a Parquet file: all that is known of each, in the words of the contracts."""

import asyncio
import io
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, BinaryIO, Final
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from usage_svc.file_store import FileStore
from usage_svc.retention.store import Export, RetentionStore

# What is read before it is written on, as a row group.
_PIECE_BYTES = 16 << 20
_MOMENT = pa.timestamp("us", tz="UTC")
# As the database's COPY gives them; the moment in microseconds, for its text would depend on settings.
COLUMNS: Final[Mapping[str, Any]] = {
    "event_id": pa.string(),
    "occurred_at": pa.int64(),
    "source": pa.string(),
    "source_offset": pa.int64(),
    "consumer_id": pa.string(),
    "merchant_id": pa.string(),
    "service_id": pa.string(),
    "api_key_id": pa.string(),
    "project_id": pa.string(),
    "key_prefix": pa.string(),
    "price_version_id": pa.string(),
    "request_bytes": pa.int64(),
    "response_bytes": pa.int64(),
    "request_messages": pa.int64(),
    "response_messages": pa.int64(),
    "response_time_ms": pa.int32(),
    "status_code": pa.int16(),
    # The numbers of ams.usage.v1.Outcome and ChargeClass.
    "outcome": pa.int16(),
    "charge_class": pa.int16(),
    "is_continuation": pa.bool_(),
    "is_test": pa.bool_(),
    "journal_id": pa.string(),
    "sequence": pa.int64(),
    "request_id": pa.string(),
}
# What a leaf of a day's tree says, besides whose it is.
LEAF_COLUMNS: Final = (
    "event_id",
    "occurred_at",
    "service_id",
    "api_key_id",
    "source",
    "source_offset",
    "request_bytes",
    "response_bytes",
    "status_code",
    "outcome",
    "is_test",
    "is_continuation",
)
SCHEMA: Final = pa.schema(
    [(name, _MOMENT if name == "occurred_at" else kind) for name, kind in COLUMNS.items()]
)
_OPTIONS = {
    "read_options": pyarrow.csv.ReadOptions(column_names=list(COLUMNS), use_threads=False),
    "convert_options": pyarrow.csv.ConvertOptions(
        column_types=dict(COLUMNS),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["t"],
        false_values=["f"],
    ),
}


class ArchiveError(OSError):
    """A file doesn't hold what was written to it; nothing may be dropped for it, nor proven by it."""


async def export_day(store: RetentionStore, files: FileStore, day: date, part: int) -> Export:
    """Writes a file of all events that a day's partition has in this transaction, and reads it back.

    Raises ArchiveError, OSError. What was left of an attempt before is replaced.
    """
    name = f"usage_events/day={day}/part-{part:03}.parquet"
    creation = files.create(name)
    file = await asyncio.to_thread(creation.__enter__)
    try:
        pieces = _Pieces(file)
        try:
            rows = await store.copy_events(day, pieces.take)
            await pieces.finish()
        finally:
            await pieces.close()
    except BaseException as error:
        await asyncio.to_thread(creation.__exit__, type(error), error, error.__traceback__)
        raise
    await asyncio.to_thread(creation.__exit__, None, None, None)
    kept = await asyncio.to_thread(count_rows, files, name)
    if kept != rows:
        raise ArchiveError(f"{name} holds {kept} of {rows} events")
    return Export(day, part, name, rows, await asyncio.to_thread(files.size_bytes, name))


def count_rows(files: FileStore, name: str) -> int:
    """How many rows a file says it has. Raises FileNotFoundError, and ArchiveError for no Parquet file."""
    with files.open(name) as file:
        try:
            rows: int = pq.read_metadata(file).num_rows
        except pa.ArrowInvalid as error:
            raise ArchiveError(f"{name} can't be read: {error}") from error
    return rows


def read_events(
    files: FileStore, name: str, merchant_id: UUID, consumer_id: UUID, event_ids: Sequence[UUID]
) -> list[dict[str, Any]]:
    """Those of a consumer's events that a file has, with the columns LEAF_COLUMNS. Blocks.

    Raises ArchiveError when the file is gone, or no Parquet file.
    """
    wanted = sorted(map(str, event_ids))
    # Ids grow with time, and so do the file's row groups: those in whose range none is are not read.
    is_wanted = (
        (pc.field("merchant_id") == str(merchant_id))
        & (pc.field("consumer_id") == str(consumer_id))
        & (pc.field("event_id") >= wanted[0])
        & (pc.field("event_id") <= wanted[-1])
        & pc.field("event_id").isin(wanted)
    )
    try:
        with files.open(name) as file:
            table = pq.read_table(file, columns=list(LEAF_COLUMNS), filters=is_wanted, use_threads=False)
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise ArchiveError(f"{name} can't be read: {error}") from error
    ids = ("event_id", "service_id", "api_key_id")
    return [{**row, **{column: UUID(row[column]) for column in ids}} for row in table.to_pylist()]


class _Pieces:
    """Makes row groups of what comes as CSV, however it is cut."""

    def __init__(self, file: BinaryIO) -> None:
        self._writer = pq.ParquetWriter(file, SCHEMA, compression="zstd")
        self._waiting = bytearray()

    async def take(self, data: bytes) -> None:
        self._waiting += data
        if len(self._waiting) >= _PIECE_BYTES:
            # No text of an event has a line break in it.
            end = self._waiting.rindex(b"\n") + 1
            piece = bytes(self._waiting[:end])
            del self._waiting[:end]
            await asyncio.to_thread(self._write, piece)

    async def finish(self) -> None:
        if self._waiting:
            await asyncio.to_thread(self._write, bytes(self._waiting))

    async def close(self) -> None:
        """Before the file is: the library writes what it still holds when it is thrown away."""
        await asyncio.to_thread(self._writer.close)

    def _write(self, piece: bytes) -> None:
        table = pyarrow.csv.read_csv(io.BytesIO(piece), **_OPTIONS)
        self._writer.write_table(table.cast(SCHEMA))
