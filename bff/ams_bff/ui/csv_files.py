"""Tables as CSV files (RFC 4180), safe to open in a spreadsheet."""

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeAlias

from ams.policy.v1.policy_pb2 import Role
from google.protobuf.timestamp_pb2 import Timestamp
from starlette.responses import Response, StreamingResponse

from ams_bff.http.routing import View, page
from ams_bff.http.visits import Visit

Cells: TypeAlias = Sequence[str | int | float]
# The rows of one page of a list, for its token, and the token of the next.
AskRows: TypeAlias = Callable[[str], Awaitable[tuple[list[Cells], str]]]
# A page of a list as the URL wants it: of a size, and for a token; the answer knows its next_page_token.
AskPage: TypeAlias = Callable[[Visit, int, str], Awaitable[Any]]
# What such an answer holds, as rows of a file.
ToRows: TypeAlias = Callable[[Visit, Any], Awaitable[list[Cells]]]

# As many as every contract lets one page hold.
PAGE_ROWS = 100
MOST_ROWS = 10_000
# A spreadsheet takes a cell that starts so for a formula, and names come from strangers.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_MEDIA_TYPE = "text/csv; charset=utf-8"
_CUT = f"The first {MOST_ROWS:,} rows; filter or search the list for the others."


def table(
    path: str,
    name: str,
    columns: Sequence[str],
    ask: AskPage,
    to_rows: ToRows,
    role: Role.ValueType | None = None,
) -> View:
    """The file of the list at `path`, with everything that fits what the URL asks for."""

    async def download(visit: Visit) -> Response:
        async def rows(page_token: str) -> tuple[list[Cells], str]:
            listed = await ask(visit, PAGE_ROWS, page_token)
            return await to_rows(visit, listed), listed.next_page_token

        return await csv_list(name, columns, rows)

    return page(f"{path}/table.csv", download, role)


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


def instant(timestamp: Timestamp) -> str:
    """A cell with a time: in UTC (RFC 3339), empty where there is none."""
    return timestamp.ToJsonString() if timestamp.seconds or timestamp.nanos else ""


def _headers(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}.csv"'}


def _text(rows: Iterable[Cells]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: str | float) -> str | float:
    is_formula = isinstance(value, str) and value.startswith(_FORMULA_STARTS)
    return f"'{value}" if is_formula else value
