"""Rows as files: CSV, JSON Lines and Parquet; PDF is in pdf.py. A writer gets rows in chunks, and holds no
more."""

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from ams.usage.v1 import report_service_pb2 as pb

from usage_svc.reporting.pdf import PdfWriter
from usage_svc.reporting.reports import Report
from usage_svc.reporting.tables import Column, Kind

# A spreadsheet takes a cell that starts so for a formula, and request ids come from strangers.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_ARROW_TYPES = {
    Kind.TEXT: pa.string(),
    Kind.COUNT: pa.int64(),
    Kind.MEAN: pa.float64(),
    Kind.MOMENT: pa.timestamp("us", tz="UTC"),
    Kind.DAY: pa.date32(),
    Kind.FLAG: pa.bool_(),
    # A minor unit has at most three digits, and a row's part of it four more.
    Kind.AMOUNT: pa.decimal128(38, 7),
}


class Writer(Protocol):
    """Makes one file."""

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Cells in the order of the columns."""

    def finish(self) -> None:
        """What comes after the last row. The file itself is closed by whoever opened it."""

    def close(self) -> None:
        """Lets go of the file, before it is closed, whether the report was finished or not."""


def writer_of(report: Report, columns: Sequence[Column], file: BinaryIO) -> Writer:
    """The writer of the report's format."""
    match report.format:
        case pb.CSV:
            return CsvWriter(columns, file)
        case pb.JSON_LINES:
            return JsonLinesWriter(columns, file)
        case pb.PARQUET:
            return ParquetWriter(columns, file)
        case pb.PDF:
            return PdfWriter(report, columns, file)
    raise ValueError(f"no format: {report.format}")


class CsvWriter:
    """RFC 4180, safe to open in a spreadsheet."""

    def __init__(self, columns: Sequence[Column], file: BinaryIO) -> None:
        self._file = file
        self._write([[column.name for column in columns]])

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        self._write([[_csv_cell(cell) for cell in row] for row in rows])

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass

    def _write(self, rows: Sequence[Sequence[Any]]) -> None:
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        self._file.write(text.getvalue().encode())


class JsonLinesWriter:
    """An object a line."""

    def __init__(self, columns: Sequence[Column], file: BinaryIO) -> None:
        self._names = [column.name for column in columns]
        self._file = file

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        lines = [
            json.dumps(dict(zip(self._names, row, strict=True)), default=_text, separators=(",", ":"))
            for row in rows
        ]
        self._file.write("".join(f"{line}\n" for line in lines).encode())

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass


class ParquetWriter:
    """A row group a chunk."""

    def __init__(self, columns: Sequence[Column], file: BinaryIO) -> None:
        self._schema = pa.schema([(column.name, _ARROW_TYPES[column.kind]) for column in columns])
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        cells = list(zip(*rows, strict=True))
        arrays = [pa.array(values, field.type) for values, field in zip(cells, self._schema, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def finish(self) -> None:
        self._writer.close()

    def close(self) -> None:
        # Else the library would do it when it is thrown away, when the file is closed.
        self._writer.close()


def _csv_cell(cell: Any) -> Any:
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return _text(cell) if isinstance(cell, datetime | Decimal) else cell


def _text(cell: Any) -> str:
    """A moment in RFC 3339, a day in ISO 8601, an amount with all its digits: a number would be a float for
    many who read it."""
    if isinstance(cell, Decimal):
        return f"{cell:f}"
    if isinstance(cell, datetime):
        return cell.astimezone(UTC).isoformat().replace("+00:00", "Z")
    text: str = cell.isoformat()
    return text
