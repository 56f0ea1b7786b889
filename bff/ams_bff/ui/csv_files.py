"""Tables as CSV files (RFC 4180), safe to open in a spreadsheet."""

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from decimal import Decimal
from typing import TypeAlias

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from starlette.responses import Response, StreamingResponse

from ams_bff.ui.formats import value_words

Cell: TypeAlias = str | int | float | Decimal
Cells: TypeAlias = Sequence[Cell]
# The rows of one page of a list, for its token, and the token of the next.
AskRows: TypeAlias = Callable[[str], Awaitable[tuple[list[Cells], str]]]

# As many as every contract lets one page hold.
PAGE_ROWS = 100
MOST_ROWS = 10_000
# A spreadsheet takes a cell that starts so for a formula, and names come from strangers.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_MEDIA_TYPE = "text/csv; charset=utf-8"
_CUT = f"The first {MOST_ROWS:,} rows; filter or search the list for the others."


def csv_file(name: str, columns: Sequence[str], rows: Iterable[Cells]) -> Response:
    """An answer that the browser keeps as `name`.csv."""
    return Response(_text([columns, *rows]), media_type=_MEDIA_TYPE, headers=_headers(name))


async def csv_list(name: str, columns: Sequence[str], ask: AskRows) -> Response:
    """All pages of a list, each asked for while those before it are being sent; after MOST_ROWS a last line
    says that there are more. Raises AppError when the first page can't be had; a later failure breaks the
    download off."""
    rows, token = await ask("")
    lines = _lines(columns, rows, token, ask)
    return StreamingResponse(lines, media_type=_MEDIA_TYPE, headers=_headers(name))


async def _lines(columns: Sequence[str], rows: list[Cells], token: str, ask: AskRows) -> AsyncIterator[str]:
    yield _text([columns, *rows])
    count = len(rows)
    while token and count < MOST_ROWS:
        rows, token = await ask(token)
        count += len(rows)
        yield _text(rows)
    if token:
        yield _text([(_CUT,)])


def cells(message: Message, *fields: str) -> list[Cell]:
    """Fields of a message as a row has them: enums in words, times as `instant()`."""
    return [_field_cell(message, name) for name in fields]


def _field_cell(message: Message, name: str) -> Cell:
    value: Cell | Timestamp = getattr(message, name)
    if isinstance(value, Timestamp):
        return instant(value)
    enum = message.DESCRIPTOR.fields_by_name[name].enum_type
    return value if enum is None else value_words(enum.name, enum.values_by_number[int(value)].name)


def instant(timestamp: Timestamp) -> str:
    """A cell with a time: in UTC (RFC 3339), empty where there is none."""
    return timestamp.ToJsonString() if timestamp.seconds or timestamp.nanos else ""


def _headers(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}.csv"'}


def _text(rows: Iterable[Cells]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: Cell) -> Cell:
    is_formula = isinstance(value, str) and value.startswith(_FORMULA_STARTS)
    return f"'{value}" if is_formula else value
